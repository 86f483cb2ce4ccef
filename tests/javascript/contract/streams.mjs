// Streaming handlers: each export is one way to write.
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";

const { HttpResponseStream, streamifyResponse } = globalThis.awslambda;

export const pieces = streamifyResponse(async (event, stream, context) => {
  stream.setContentType("text/plain");
  stream.write(`for ${JSON.stringify(event)}, ${typeof context.getRemainingTimeInMillis()}\n`);
  await sleep(1);
  stream.write(Buffer.from("octets\n"));
  stream.write({ an: "object" });
  stream.end("the end\n");
});

export const piped = streamifyResponse(async (_event, stream) => {
  await pipeline(Readable.from(["one ", "two ", "three"]), stream);
});

export const http = streamifyResponse(async (_event, stream) => {
  const metadata = { statusCode: 207, headers: { "content-type": "text/html" }, cookies: ["a=1", "b=2"] };
  const told = HttpResponseStream.from(stream, metadata);
  told.write("<p>");
  told.end("hello");
});

export const noContent = streamifyResponse(async (_event, stream) => {
  HttpResponseStream.from(stream, { statusCode: 204 }).end();
});

export const empty = streamifyResponse(async (_event, stream) => {
  stream.end();
});

export const large = streamifyResponse(async (_event, stream) => {
  for (let n = 0; n < 100; n += 1) {
    if (!stream.write(Buffer.alloc(100_000, n))) await new Promise((resolve) => stream.once("drain", resolve));
  }
  stream.end();
});

export const breaks = streamifyResponse(async (_event, stream) => {
  stream.write("half");
  await sleep(20);
  throw Object.assign(new Error("in the middle"), { name: "Halfway" });
});

export const breaksFirst = streamifyResponse(async () => {
  throw new Error("before the first byte");
});

export const notAsync = streamifyResponse((_event, stream) => {
  stream.end("text");
});

export const setsTypeTooLate = streamifyResponse(async (_event, stream) => {
  stream.write("text");
  await sleep(20);
  stream.setContentType("text/html");
});

export const returns = streamifyResponse(async (_event, stream) => {
  stream.end("text");
  return "ignored";
});
