import { NotFoundError, Router, streamify } from "@aws-lambda-powertools/event-handler/http";
import { Logger } from "@aws-lambda-powertools/logger";
import { Metrics, MetricUnit } from "@aws-lambda-powertools/metrics";
import { Tracer } from "@aws-lambda-powertools/tracer";
import { stepStream } from "./steps.mjs";

const logger = new Logger({ serviceName: "orders" });
const metrics = new Metrics({ namespace: "shop", serviceName: "orders" });
const tracer = new Tracer({ serviceName: "orders" });
const app = new Router({ logger });

app.get("/items", ({ req, event, context }) => {
  logger.addContext(context);
  logger.info("an order", { order: 7 });
  metrics.addMetric("orders", MetricUnit.Count, 1);
  metrics.publishStoredMetrics();
  const { searchParams } = new URL(req.url);
  const body = { query: [...searchParams], cookies: event.cookies, field: req.headers.get("x-twice") };
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    multiValueHeaders: { "x-many": ["1", "2"] },
    cookies: ["a=1", "b=2"],
    body: JSON.stringify({ ...body, hasId: context.awsRequestId.length === 36 }),
  };
});
// Its requests have bodies of text alone.
app.post("/text", async ({ req }) => ({ got: await req.json() }));
app.get("/binary", () => new Response(Uint8Array.from({ length: 256 }, (_, at) => at), { headers: { "content-type": "image/png" } }));
app.get("/fail", () => {
  throw new NotFoundError("no such order");
});
app.get("/stream", () => new Response(stepStream(), { headers: { "content-type": "text/plain" } }));

export const handler = async (event, context) => app.resolve(event, context);
export const streamed = streamify(app);

export const traced = async (event) => {
  const segment = tracer.getSegment();
  const subsegment = segment.addNewSubsegment("## handler");
  tracer.setSegment(subsegment);
  try {
    tracer.putAnnotation("order", event.order);
    if (event.order === "none") throw new RangeError("no such order");
    return { order: event.order, trace: tracer.getRootXrayTraceId() };
  } catch (error) {
    tracer.addErrorAsMetadata(error);
    throw error;
  } finally {
    subsegment.close();
    tracer.setSegment(segment);
  }
};
