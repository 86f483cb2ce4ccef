// Serves a module's `fetch`: each HTTP event is a standard Request, and its Response is the answer.

import { once } from "node:events";
import http from "node:http";
import { Readable } from "node:stream";

// Where Fairlead puts a Host field that cannot stand in a URL (runtime/events/hosts.py).
const HOST_AS_SENT = "x-fairlead-host-as-sent";
const UPGRADE = "sec-websocket-key"; // Upgrade itself is hop-by-hop, and does not come this far

const UNFINISHED = "x-fairlead-unfinished"; // of an answer after which work is left, and of Fairlead's question for its end

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

function marked(response) {
  const headers = new Headers(response.headers);
  headers.set(UNFINISHED, "1");
  return new Response(response.body, { status: response.status, statusText: response.statusText, headers });
}

/** Serve `handler`, a function from Request to Response, until the process ends. */
export function serveRequests(handler, place) {
  const answer = answering(handler);
  if (globalThis.Bun) {
    // Its limit of 10 s would end a slow answer.
    Bun.serve({ ...place, idleTimeout: 0, fetch: (request, server) => answer(asSent(request), server) });
  } else if (globalThis.Deno) {
    Deno.serve({ ...place, onListen() {} }, (request, info) => answer(asSent(request), info));
  } else serveOnNode(answer, place);
}

function answering(handler) {
  let hasWarned = false;
  return async (request, native) => {
    if (request.headers.has("x-fairlead-readiness")) return new Response(null, { status: 204 });
    if (request.headers.has(UNFINISHED)) return finish();
    if (request.headers.has(UPGRADE) && !hasWarned) {
      hasWarned = true; // once: anybody can send the field
      console.error("a client asks for a WebSocket: no front end of Lambda opens one to a function, so `fetch` gets a plain request");
    }
    let response;
    try {
      response = await handler(request, native, context);
      if (!(response instanceof Response)) {
        throw new TypeError(`fetch must give a Response, and gave ${response === null ? "null" : typeof response}`);
      }
      if (response.status === 101) throw new TypeError("fetch gave 101 Switching Protocols: no WebSocket can be opened to a function on Lambda");
    } catch (error) {
      console.error(error);
      response = new Response("500 Internal Server Error\n", { status: 500, headers: { "content-type": "text/plain" } });
    }
    return unfinished.size ? marked(response) : response;
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

function serveOnNode(answer, place) {
  const server = http.createServer(async (incoming, outgoing) => {
    const gone = new AbortController();
    outgoing.on("close", () => outgoing.writableFinished || gone.abort());
    try {
      await send(await answer(requestOf(incoming, gone.signal)), outgoing);
    } catch (error) {
      console.error(error);
      if (outgoing.headersSent) outgoing.destroy(); // in the middle: a proper end would be a lie
      else outgoing.writeHead(500).end();
    }
  });
  server.keepAliveTimeout = 0; // Fairlead decides how long a connection is used
  server.listen(place.port, place.hostname);
}
