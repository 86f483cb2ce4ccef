// Express for an SQS queue: Fairlead posts each batch to /events. A message that cannot be processed fails alone.
import express from "express";

const app = express();
app.use(express.json({ limit: "6mb" }));

app.get("/", (_request, response) => {
  response.type("text/plain").send(`Node ${process.versions.node} waits for messages\n`);
});

app.post("/events", (request, response) => {
  // Anybody can POST here if the function has a URL. Fairlead sets this header for events, and takes it from requests.
  if (!request.get("x-fairlead-event-source")) return response.status(403).send("for events only\n");
  if (!Array.isArray(request.body.Records)) throw new Error("an event without Records is no batch");
  const failed = [];
  for (const record of request.body.Records) {
    try {
      processOrder(JSON.parse(record.body));
    } catch (error) {
      console.error(`message ${record.messageId}: ${error.message}`);
      failed.push({ itemIdentifier: record.messageId });
    }
  }
  // Only these are delivered again. The event source mapping needs FunctionResponseTypes: ReportBatchItemFailures;
  // without it SQS takes the whole batch for processed.
  return response.json({ batchItemFailures: failed });
});

// What is thrown outside of the loop (a database that is down, an event that is no batch) becomes 500. Fairlead then
// fails the invocation, with this text as its message, and the whole batch is delivered again.
app.use((error, _request, response, _next) => {
  console.error(error);
  response.status(500).type("text/plain").send(error.message);
});

function processOrder(order) {
  if (!(order.quantity > 0)) throw new Error(`quantity ${order.quantity} is not above zero`);
  console.log(`processed order ${order.id}`);
}

const server = app.listen(process.env.PORT ?? 8080, "127.0.0.1");

process.on("SIGTERM", () => {
  server.close(() => console.log("stopped")); // answers what it has begun; then nothing is left to do, and Node ends
});
