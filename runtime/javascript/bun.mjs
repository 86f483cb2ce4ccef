// Bun's own server with as much of node:http's interface as events.mjs needs. Bun's node:http keeps the process alive for
// as long as a request is open, so that an event loop with nothing else in it could not be seen.

import { EventEmitter } from "node:events";
import { closerOnBun } from "./ending.mjs";

const HIGH_WATER_MARK = 64 * 1024;

class Outgoing extends EventEmitter {
  headersSent = false;
  destroyed = false;
  writableFinished = false;
  #respond;
  #head = { status: 200 };
  #controller = undefined; // of the stream that an answer in pieces is

  constructor(respond) {
    super();
    this.#respond = respond;
  }

  writeHead(status, headers) {
    this.headersSent = true;
    this.#head = { status, headers };
    return this;
  }

  write(octets) {
    if (!this.#controller) this.#stream();
    this.#controller.enqueue(octets);
    return this.#controller.desiredSize > 0;
  }

  end(last) {
    this.writableFinished = true;
    if (!this.#controller) this.#respond(new Response(last, this.#head));
    else {
      if (last) this.#controller.enqueue(last);
      this.#controller.close();
    }
    this.emit("close");
  }

  #stream() {
    const source = {
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => void this.emit("drain"),
      cancel: () => {
        this.destroyed = true;
        this.emit("close");
      },
    };
    const size = (octets) => octets.length;
    this.#respond(new Response(new ReadableStream(source, { highWaterMark: HIGH_WATER_MARK, size }), this.#head));
  }
}

/**
 * Serve `answer(headers, body, outgoing)`, which gets the fields, the body as a string, and what to answer with.
 * Returns what closes the server.
 */
export function serveOnBun(answer, place) {
  const server = Bun.serve({
    ...place,
    idleTimeout: 0,
    maxRequestBodySize: 2 ** 30,
    async fetch(request) {
      const body = await request.text();
      return new Promise((respond) => answer(Object.fromEntries(request.headers), body, new Outgoing(respond)));
    },
  });
  server.unref();
  return closerOnBun(server);
}
