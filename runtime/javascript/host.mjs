// Runs a JavaScript or TypeScript handler module as a web server, under Bun, Deno or Node: host.mjs FILE EXPORT.
//
//   EXPORT fetch      export default { fetch(request) { ... } }, or export function fetch: Request in, Response out
//   anything else     export async function handler(event, context): an event in, its result out, as on Lambda's Node
//
// Fairlead asks it over HTTP on PORT. Fields that begin with x-fairlead- come from there alone, never from a client.

import http from "node:http";
import { once } from "node:events";
import process from "node:process";
import { Readable } from "node:stream";
import { pathToFileURL } from "node:url";

const [file, name] = process.argv.slice(2);
const place = { port: Number(process.env.PORT ?? 8080), hostname: "127.0.0.1" };

function giveUp(message) {
  console.error(message);
  process.exit(1);
}

async function load() {
  const module = await import(pathToFileURL(file).href);
  const found = name === "fetch" ? (module.default?.fetch?.bind(module.default) ?? module.fetch) : (module[name] ?? module.default?.[name]);
  if (typeof found === "function") return found;
  const wanted = name === "fetch" ? "`export default { fetch(request) { ... } }`" : `\`export function ${name}(event, context) { ... }\``;
  giveUp(`${file} has no function ${name}: it needs ${wanted}`);
}

// ---- requests and answers, for `fetch`

// What the client asked for: the front end spoke HTTPS with it, and plain HTTP is spoken here.
function publicUrl(scheme, host, target) {
  try {
    return new URL(`${scheme === "https" ? "https" : "http"}://${host}${target}`);
  } catch {
    return new URL(target, "http://localhost"); // scanners send hosts that are none
  }
}

function asClientSentIt(request) {
  const scheme = request.headers.get("x-forwarded-proto");
  if (scheme !== "https") return request;
  const url = new URL(request.url);
  url.protocol = "https:";
  return new Request(url, request);
}

function failed(error) {
  console.error(error);
  return new Response("500 Internal Server Error\n", { status: 500, headers: { "content-type": "text/plain" } });
}

function serving(handler) {
  return async (request, native) => {
    if (request.headers.has("x-fairlead-readiness")) return new Response(null, { status: 204 });
    try {
      const response = await handler(asClientSentIt(request), native);
      if (response instanceof Response) return response;
      throw new TypeError(`fetch must give a Response, and gave ${response === null ? "null" : typeof response}`);
    } catch (error) {
      return failed(error);
    }
  };
}

// ---- Node has fetch's types, but no server that speaks them

function requestOf(incoming) {
  const headers = new Headers();
  for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
    headers.append(incoming.rawHeaders[at], incoming.rawHeaders[at + 1]);
  }
  const url = publicUrl(headers.get("x-forwarded-proto"), headers.get("host"), incoming.url);
  const bodiless = incoming.method === "GET" || incoming.method === "HEAD";
  const body = bodiless ? undefined : Readable.toWeb(incoming);
  return new Request(url, { method: incoming.method, headers, body, duplex: "half" });
}

async function send(response, outgoing) {
  const fields = [...response.headers].filter(([field]) => field !== "set-cookie");
  for (const cookie of response.headers.getSetCookie()) fields.push(["set-cookie", cookie]);
  outgoing.writeHead(response.status, response.statusText || undefined, fields.flat());
  if (response.body) {
    for await (const piece of response.body) {
      if (!outgoing.write(piece) && !outgoing.destroyed) await Promise.race([once(outgoing, "drain"), once(outgoing, "close")]);
      if (outgoing.destroyed) return; // nobody listens: leaving the loop cancels the stream
    }
  }
  outgoing.end();
}

function serveOnNode(answer) {
  const server = http.createServer(async (incoming, outgoing) => {
    try {
      await send(await answer(requestOf(incoming)), outgoing);
    } catch (error) {
      console.error(error);
      if (outgoing.headersSent) outgoing.destroy(); // in the middle: a proper end would be a lie
      else outgoing.writeHead(500).end();
    }
  });
  server.keepAliveTimeout = 0; // Fairlead decides how long a connection is used
  server.listen(place.port, place.hostname);
}

function serve(answer) {
  if (globalThis.Bun) Bun.serve({ ...place, idleTimeout: 0, fetch: answer }); // its 10 s would end a slow answer
  else if (globalThis.Deno) Deno.serve({ ...place, onListen() {} }, answer);
  else serveOnNode(answer);
}

// ---- events, for everything else

function contextOf(headers) {
  const told = JSON.parse(headers.get("x-amzn-lambda-context") ?? "{}");
  const environment = told.env_config ?? {};
  return {
    awsRequestId: told.request_id,
    callbackWaitsForEmptyEventLoop: true,
    clientContext: told.client_context ?? undefined,
    functionName: environment.function_name,
    functionVersion: environment.version,
    identity: told.identity ?? undefined,
    invokedFunctionArn: told.invoked_function_arn,
    logGroupName: environment.log_group,
    logStreamName: environment.log_stream,
    memoryLimitInMB: String(environment.memory ?? ""),
    getRemainingTimeInMillis: () => Math.max(0, (told.deadline ?? 0) - Date.now()),
  };
}

function called(handler, event, context) {
  if (handler.length < 3) return handler(event, context);
  return new Promise((resolve, reject) => {
    const result = handler(event, context, (error, value) => (error ? reject(error) : resolve(value)));
    if (typeof result?.then === "function") result.then(resolve, reject);
  });
}

function described(error) {
  const known = error instanceof Error;
  const errorType = (known && error.name) || "Error";
  const errorMessage = known ? error.message : String(error);
  return { errorType, errorMessage, stackTrace: known ? (error.stack ?? "").split("\n") : [] };
}

function invoking(handler) {
  return async (request) => {
    if (request.headers.has("x-fairlead-readiness")) return new Response(null, { status: 204 });
    const headers = { "content-type": "application/json" };
    try {
      const trace = request.headers.get("x-amzn-trace-id");
      if (trace) process.env._X_AMZN_TRACE_ID = trace;
      else delete process.env._X_AMZN_TRACE_ID;
      const result = await called(handler, JSON.parse(await request.text()), contextOf(request.headers));
      return new Response(JSON.stringify(result) ?? "null", { headers });
    } catch (error) {
      console.error(error);
      return new Response(JSON.stringify(described(error)), { status: 500, headers });
    }
  };
}

process.on("SIGTERM", () => process.exit(0));
try {
  const handler = await load();
  serve(name === "fetch" ? serving(handler) : invoking(handler));
} catch (error) {
  console.error(error);
  process.exit(1);
}
