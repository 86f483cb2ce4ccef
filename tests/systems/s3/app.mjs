// Puts objects into S3 and gets them back with the AWS SDK, under whatever runs node:http: Node, Bun, Deno.
import http from "node:http";
import process from "node:process";
import { GetObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";

const client = new S3Client({
  endpoint: process.env.S3_ENDPOINT,
  forcePathStyle: true,
  // Else a presigned URL to put an object has the checksum of nothing in it, which some stores check.
  requestChecksumCalculation: "WHEN_REQUIRED",
});
const Bucket = "objects";

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const routes = {
  GET: async (Key) => {
    const object = await client.send(new GetObjectCommand({ Bucket, Key }));
    return [object.ContentType, Buffer.from(await object.Body.transformToByteArray())];
  },
  PUT: async (Key, request) => {
    const command = new PutObjectCommand({ Bucket, Key, Body: await body(request), ContentType: "image/x-test" });
    const { ETag } = await client.send(command);
    return ["text/plain", ETag];
  },
  // URLs with which somebody without credentials may get the object, and put another
  POST: async (Key) => {
    const get = await getSignedUrl(client, new GetObjectCommand({ Bucket, Key }), { expiresIn: 60 });
    const put = await getSignedUrl(client, new PutObjectCommand({ Bucket, Key }), { expiresIn: 60 });
    return ["application/json", JSON.stringify({ get, put })];
  },
};

http
  .createServer(async (request, response) => {
    const url = new URL(request.url, "http://localhost");
    if (url.pathname === "/") return response.end("ready");
    try {
      const [type, answer] = await routes[request.method](decodeURIComponent(url.pathname.slice(1)), request);
      response.setHeader("content-type", type);
      response.end(answer);
    } catch (error) {
      response.statusCode = error.$metadata?.httpStatusCode ?? 500;
      response.end(error.name);
    }
  })
  .listen(Number(process.env.PORT), "127.0.0.1");
