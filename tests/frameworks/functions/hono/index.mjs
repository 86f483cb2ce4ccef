import { Hono } from "hono";
import { handle, streamHandle } from "hono/aws-lambda";
import { getCookie, setCookie } from "hono/cookie";
import { stream } from "hono/streaming";
import { steps } from "./steps.mjs";

const app = new Hono();

app.get("/items", (c) => {
  setCookie(c, "a", "1");
  setCookie(c, "b", "2");
  c.header("x-many", "1");
  c.header("x-many", "2", { append: true });
  const id = (c.env.lambdaContext ?? c.env.context).awsRequestId;
  return c.json({ query: c.req.queries(), cookies: getCookie(c), field: c.req.header("x-twice"), hasId: id.length === 36 });
});
app.post("/binary", async (c) => c.body(await c.req.arrayBuffer(), 201, { "content-type": "image/png" }));
app.get("/fail", () => {
  throw new Error("of the route");
});
app.get("/stream", (c) =>
  stream(c, async (stream) => {
    for await (const piece of steps()) await stream.write(piece);
  }),
);
app.get("/empty", (c) => c.body(null, 204));

export const handler = handle(app);
export const streamed = streamHandle(app);
