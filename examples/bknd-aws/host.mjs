// A Node handler, hosted: each event comes as a POST with FAIRLEAD_EVENT_MODE=raw, and what is answered is the payload.
import { createServer } from "node:http";
import { handler } from "./dist/handler.mjs";

/** What a handler expects as its second argument. */
function contextOf(headers) {
  const of = JSON.parse(headers["x-amzn-lambda-context"] ?? "{}");
  return {
    awsRequestId: of.request_id,
    invokedFunctionArn: of.invoked_function_arn,
    functionName: of.env_config?.function_name,
    getRemainingTimeInMillis: () => of.deadline - Date.now(),
  };
}

createServer(async (request, response) => {
  if (request.method !== "POST") return response.end("ready");
  const chunks = await request.toArray();
  try {
    const payload = await handler(JSON.parse(Buffer.concat(chunks).toString()), contextOf(request.headers));
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(payload ?? null));
  } catch (error) {
    console.error(error);
    response.statusCode = 500; // the invocation fails with this type and message
    response.end(JSON.stringify({ errorType: error.name, errorMessage: error.message }));
  }
}).listen(Number(process.env.PORT), "127.0.0.1");
