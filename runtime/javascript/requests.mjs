// Serves a module's `fetch`: each HTTP event is a standard Request, and its Response is the answer.

import { once } from "node:events";
import { createRequire } from "node:module";
import { Readable } from "node:stream";
import { afterRejections, closerOf, closerOnBun, endOnErrors, isEnding } from "./ending.mjs";

// Where Fairlead puts a Host field that cannot stand in a URL (runtime/events/hosts.py).
const HOST_AS_SENT = "x-fairlead-host-as-sent";
const UPGRADE = "sec-websocket-key"; // Upgrade itself is hop-by-hop, and does not come this far
const UNFINISHED = "x-fairlead-unfinished"; // of an answer after which work is left, and of Fairlead's question for its end
const METHODS_WITHOUT_REQUEST = ["CONNECT", "TRACE", "TRACK"]; // https://fetch.spec.whatwg.org/#forbidden-method
const TEXT = { "content-type": "text/plain" };

let isStarting = true;
const waiting = new Set(); // for each request without a Response: what fails it

// ---- work that goes on after the answer

const unfinished = new Set();
const context = {
  /** Let the environment run until `promise` is settled, though the client has its answer. */
  waitUntil(promise) {
    const work = Promise.resolve(promise)
      .catch((error) => console.error(error))
      .finally(() => unfinished.delete(work));
    unfinished.add(work);
  },
};

async function finish() {
  while (unfinished.size) await Promise.all(unfinished); // work may leave more of it
  return new Response(null, { status: 204 });
}

function withField(response, field, value) {
  try {
    response.headers.set(field, value); // not in a copy: Bun gives one the type application/octet-stream
    return response;
  } catch {
    const headers = new Headers(response.headers); // those of a redirect, or of what fetch() gave, cannot be changed
    headers.set(field, value);
    return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
  }
}

// ---- one request

function checked(response) {
  if (!(response instanceof Response)) {
    throw new TypeError(`fetch must give a Response, and gave ${response === null ? "null" : typeof response}`);
  }
  if (response.status === 101) throw new TypeError("fetch gave 101 Switching Protocols: no WebSocket can be opened to a function on Lambda");
  if (response.status === 0) throw new TypeError("fetch gave Response.error(), which has no status that could be sent");
  if (response.bodyUsed) throw new TypeError("fetch gave a Response whose body has been read already: give response.clone()");
  return response;
}

function notImplemented() {
  return new Response("501 Not Implemented\n", { status: 501, headers: TEXT });
}

function failure() {
  return new Response("500 Internal Server Error\n", { status: 500, headers: TEXT });
}

/**
 * A function that answers requests with what `module.fetch` gives for `seen(request)`, and with a 500 where that is
 * nothing of use.
 */
function answering(module, seen) {
  let hasWarned = false;

  function ask(request, native) {
    isStarting = false;
    if (request.headers.has(UPGRADE) && !hasWarned) {
      hasWarned = true; // once: anybody can send the field
      console.error("a client asks for a WebSocket: no front end of Lambda opens one to a function, so `fetch` gets a plain request");
    }
    return new Promise((resolve, fail) => {
      waiting.add(fail);
      const given = (async () => module.fetch(seen(request), native, context))();
      given.then(resolve, fail).finally(() => waiting.delete(fail));
    });
  }

  return async (request, native) => {
    if (request.headers.has("x-fairlead-readiness")) return new Response(null, { status: 204 });
    if (request.headers.has(UNFINISHED)) return finish();
    if (METHODS_WITHOUT_REQUEST.includes(request.method)) return notImplemented();
    let response;
    try {
      response = checked(await ask(request, native));
    } catch (error) {
      console.error(error);
      response = failure();
    }
    await new Promise(afterRejections);
    if (unfinished.size) response = withField(response, UNFINISHED, "1");
    return isEnding ? withField(response, "connection", "close") : response;
  };
}

// ---- what the client asked for: the front end spoke HTTPS with it, and plain HTTP is spoken here

/** The scheme and host of the URL. `host` is one that fits into a URL; `sent` is the client's, where that does not. */
function originOf(headers, host, sent) {
  const scheme = headers.get("x-forwarded-proto") === "https" ? "https" : "http";
  // A name in Punycode is a good one if it can be decoded, and no parser but the URL's own can tell.
  if (sent && /^[a-z0-9._-]*xn--[a-z0-9._-]+(:[0-9]{1,5})?$/i.test(sent) && URL.canParse(`${scheme}://${sent}`)) host = sent;
  return `${scheme}://${host}`;
}

/** The request with the client's scheme and Host, where these are not what it has come with. */
function asSent(request) {
  const sent = request.headers.get(HOST_AS_SENT);
  if (sent === null && request.headers.get("x-forwarded-proto") !== "https") return request;
  const { host, pathname, search } = new URL(request.url);
  const url = originOf(request.headers, host, sent) + pathname + search;
  if (sent === null) return new Request(url, request);
  const headers = new Headers(request.headers);
  headers.set("host", sent);
  headers.delete(HOST_AS_SENT);
  return new Request(url, new Request(request, { headers }));
}

// ---- Node has fetch's types, but no server that speaks them

function requestOf(incoming, signal) {
  const headers = new Headers();
  for (let at = 0; at < incoming.rawHeaders.length; at += 2) {
    headers.append(incoming.rawHeaders[at], incoming.rawHeaders[at + 1]);
  }
  const sent = headers.get(HOST_AS_SENT);
  const url = originOf(headers, headers.get("host"), sent) + incoming.url;
  if (sent !== null) {
    headers.set("host", sent);
    headers.delete(HOST_AS_SENT);
  }
  const bodiless = incoming.method === "GET" || incoming.method === "HEAD";
  const body = bodiless ? undefined : Readable.toWeb(incoming);
  return new Request(url, { method: incoming.method, headers, body, duplex: "half", signal });
}

async function send(response, outgoing, method) {
  const isHead = method === "HEAD";
  // A length may be that of what a client has decoded (`return fetch(...)`); Bun and Deno leave it out as well.
  const isKept = (field) => field !== "set-cookie" && (field !== "content-length" || isHead || response.status === 304);
  const fields = [...response.headers].filter(([field]) => isKept(field));
  for (const cookie of response.headers.getSetCookie()) fields.push(["set-cookie", cookie]);
  outgoing.writeHead(response.status, response.statusText || undefined, fields.flat());
  if (isHead) await response.body?.cancel(); // it may never end
  else if (response.body) {
    for await (const piece of response.body) {
      if (!outgoing.write(piece) && !outgoing.destroyed) await Promise.race([once(outgoing, "drain"), once(outgoing, "close")]);
      if (outgoing.destroyed) return; // nobody listens: leaving the loop cancels the stream
    }
  }
  outgoing.end();
}

function serveOnNode(answer, place) {
  const http = createRequire(import.meta.url)("node:http"); // where agents put in theirs, to trace requests
  const server = http.createServer(async (incoming, outgoing) => {
    const { method } = incoming;
    const gone = new AbortController();
    outgoing.on("close", () => outgoing.writableFinished || gone.abort());
    try {
      const isAllowed = !METHODS_WITHOUT_REQUEST.includes(method);
      const response = isAllowed ? await answer(requestOf(incoming, gone.signal)) : notImplemented();
      await send(response, outgoing, method);
    } catch (error) {
      console.error(error);
      if (outgoing.headersSent) outgoing.destroy(); // in the middle: a proper end would be a lie
      else await send(failure(), outgoing, method);
    }
  });
  server.on("connect", (_incoming, socket) => socket.end("HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n"));
  server.keepAliveTimeout = 0; // Fairlead decides how long a connection is used
  server.listen(place.port, place.hostname);
  return closerOf(server);
}

// ---- the process

/** Serve `module.fetch`, from Request to Response, until the process ends. `report` is told what fails before that. */
export function serveRequests(module, place, report) {
  const isNode = !globalThis.Bun && !globalThis.Deno;
  const answer = answering(module, isNode ? (request) => request : asSent);
  let close; // takes no more requests; the promise is settled when the answers under way are sent
  if (globalThis.Bun) {
    const { websocket } = module; // with it `upgrade` says false, and without it that it is missing
    // Its limit of 10 s would end a slow answer, and its page for developers would show the source to the client.
    const server = Bun.serve({ ...place, idleTimeout: 0, development: false, error: failed, websocket, fetch: answer });
    close = closerOnBun(server);
  } else if (globalThis.Deno) {
    const server = Deno.serve({ ...place, onListen() {}, onError: failed }, answer);
    close = () => server.shutdown();
  } else close = serveOnNode(answer, place);
  for (const member of ["routes", "static"]) {
    if (module[member]) console.error(`\`${member}\` is not served: index.fetch calls \`fetch\` alone. A program that serves by itself needs no handler, but a run.sh`);
  }
  endOnErrors(close, tell, () => isStarting, report);
}

function tell(words, error) {
  console.error(words, error);
  for (const fail of waiting) fail(new Error(`the process ends: ${words}`));
}

function failed(error) {
  console.error(error);
  return failure();
}
