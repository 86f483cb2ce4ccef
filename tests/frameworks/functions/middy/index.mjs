import { Readable } from "node:stream";
import middy from "@middy/core";
import { executionModeStreamifyResponse } from "@middy/core/StreamifyResponse";
import httpErrorHandler from "@middy/http-error-handler";
import httpHeaderNormalizer from "@middy/http-header-normalizer";
import httpJsonBodyParser from "@middy/http-json-body-parser";
import { steps } from "./steps.mjs";

const timed = { after: ({ response }) => void (response.headers = { ...response.headers, "x-after": "yes" }) };

const items = async (event, context, { signal }) => ({
  statusCode: 200,
  headers: { "content-type": "application/json" },
  cookies: ["a=1", "b=2; Path=/"],
  body: JSON.stringify({
    query: event.queryStringParameters ?? event.rawQueryString,
    cookies: event.cookies,
    field: event.headers["x-twice"],
    body: event.body,
    hasId: context.awsRequestId.length === 36,
    isAborted: signal.aborted,
  }),
});

const fail = async (event) => {
  if (event.rawQueryString === "loud") throw new RangeError("of the handler");
  throw Object.assign(new Error("no such order"), { statusCode: 404, expose: true });
};

const multiple = async (event) => ({
  statusCode: 200,
  multiValueHeaders: { "x-many": ["1", "2"], "set-cookie": ["a=1", "b=2"] },
  body: JSON.stringify(event.multiValueHeaders["x-twice"]),
});

export const handler = middy()
  .use(httpHeaderNormalizer())
  .use(httpJsonBodyParser({ disableContentTypeError: true }))
  .use(httpErrorHandler({ logger: false, fallbackMessage: undefined }))
  .use(timed)
  .handler((event, context, more) => (event.rawPath === "/fail" ? fail(event) : items(event, context, more)));

export const bare = middy(fail);
export const rest = middy(multiple);
export const binary = middy(async (event) => ({
  statusCode: 201,
  headers: { "content-type": "image/png" },
  isBase64Encoded: true,
  body: event.body,
}));

export const streamed = middy({ executionMode: executionModeStreamifyResponse }).handler(async () => ({
  statusCode: 200,
  headers: { "content-type": "text/plain" },
  cookies: ["a=1", "b=2"],
  body: Readable.from(steps()),
}));
