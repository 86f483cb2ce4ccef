// Serves a handler of events, `handler(event, context, callback)`, with the contract of Lambda's Node runtime.
//
// Fairlead posts each event, with the field x-fairlead-invocation; the answer's field x-fairlead-answer says what its
// body is (runtime/javascript/handler.py reads it). No client's field has such a name, and no handler writes a head.
//
//   result    the result as JSON
//   failure   a line with the error document, a line for X-Ray
//   stream    frames: a byte for the kind, four for the length, the content. "d" is data, "e" a failure, "." the end

import { AsyncLocalStorage } from "node:async_hooks";
import { EventEmitter } from "node:events";
import http from "node:http";
import process from "node:process";
import { Writable } from "node:stream";
import { UNHANDLED_REJECTION, afterRejections, closerOf, endOnErrors, isEnding } from "./ending.mjs";
import { documentOf, runtimeError, unhandledRejection, xrayCauseOf } from "./errors.mjs";
import { logError, patchConsole } from "./logs.mjs";

const INVOCATION = "x-fairlead-invocation";
const ANSWER = "x-fairlead-answer";
const LONGEST_HEAD = 1024 * 1024; // what the invoker says is in there; nobody else asks
const STREAMING = Symbol.for("aws.lambda.runtime.handler.streaming");
const HIGH_WATER_MARK = Symbol.for("aws.lambda.runtime.handler.streaming.highWaterMark");
const HTTP_RESPONSE_TYPE = "application/vnd.awslambda.http-integration-response";
// Agents decide by it whether handlers have callbacks; Lambda's later ones have none.
const CONTRACT = "AWS_Lambda_nodejs22.x";
const NOBODY = { requestId: undefined, tenantId: undefined };

// Lambda Managed Instances: several invocations at once.
const areTogether = Number(process.env.AWS_LAMBDA_MAX_CONCURRENCY) > 1; // as runtime/main.py has it
const local = areTogether ? new AsyncLocalStorage() : undefined;
const open = new Set(); // invocations that are not answered
let latest = NOBODY;
// The only thing that keeps the process alive, so that it can be seen when a handler has left nothing to wait for. Not
// while its module is loaded: one that waits for nothing is to be seen too.
let alive;

function current() {
  return local?.getStore() ?? latest;
}

// ---- what handlers find

/** Define the global `awslambda` and the methods of `console`. Before the handler's module is loaded. */
export function prepare() {
  patchConsole(current);
  process.env.AWS_EXECUTION_ENV ??= CONTRACT;
  if (["1", "true"].includes(process.env.AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA)) return;
  globalThis.awslambda = {
    ...globalThis.awslambda,
    streamifyResponse(handler, options) {
      handler[STREAMING] = "response";
      if (typeof options?.highWaterMark === "number") handler[HIGH_WATER_MARK] = Math.trunc(options.highWaterMark);
      return handler;
    },
    HttpResponseStream: {
      from(stream, metadata) {
        stream.setContentType(HTTP_RESPONSE_TYPE);
        const prelude = JSON.stringify(metadata);
        stream._onBeforeFirstWrite = (write) => {
          write(prelude);
          write(new Uint8Array(8));
        };
        return stream;
      },
    },
  };
}

function parsed(json, name) {
  if (!json) return undefined;
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new Error(`Cannot parse ${name} as json: ${error}`);
  }
}

function contextOf(told, invocation) {
  const done = (error, result) => (error === undefined || error === null ? invocation.succeed(result) : invocation.fail(error));
  const ways = {
    succeed: (result) => invocation.first(() => invocation.succeed(result)),
    fail: (error) => invocation.first(() => invocation.fail(error ?? "handled")),
    done: (error, result) => invocation.first(() => done(error, result)),
  };
  return {
    get callbackWaitsForEmptyEventLoop() {
      return invocation.waitsForEmptyLoop;
    },
    set callbackWaitsForEmptyEventLoop(value) {
      invocation.waitsForEmptyLoop = value;
    },
    ...(invocation.stream ? {} : ways),
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: parsed(told.client_context, "ClientContext"),
    identity: parsed(told.identity, "CognitoIdentity"),
    invokedFunctionArn: told.arn || undefined,
    awsRequestId: told.request_id,
    tenantId: told.tenant_id || undefined,
    getRemainingTimeInMillis: () => told.deadline_ms - Date.now(),
  };
}

// ---- one invocation

class Invocation {
  waitsForEmptyLoop = true;
  stream = undefined; // what a streaming handler writes to
  #outgoing;
  #isAnswered = false;
  #isFinished = false; // the handler has said how it ends
  #isPromised = false; // the handler gave a promise
  #result = undefined; // that waits for the event loop to be empty
  #send = undefined; // sends the answer, which is made
  #outcome = undefined; // answers as the handler's promise was settled

  constructor(told, outgoing) {
    this.requestId = told.request_id;
    this.tenantId = told.tenant_id || undefined;
    this.#outgoing = outgoing;
    open.add(this);
    outgoing.on("close", () => open.delete(this));
  }

  run(handler, body, told) {
    latest = this;
    if (areTogether) delete process.env._X_AMZN_TRACE_ID; // there is none that would be everybody's
    else if (told.trace_id) process.env._X_AMZN_TRACE_ID = told.trace_id;
    else delete process.env._X_AMZN_TRACE_ID;
    try {
      if (handler[STREAMING]) return this.#runStreaming(handler, body, told);
      const context = contextOf(told, this);
      const result = handler(JSON.parse(body), context, (...values) => this.first(() => this.#callBack(...values)));
      this.#isPromised = typeof result?.then === "function";
      if (this.#isPromised) this.#follow(result, context);
    } catch (error) {
      this.first(() => this.fail(error));
    }
    this.#watchLoop();
    return undefined;
  }

  get isAnswered() {
    return this.#isAnswered;
  }

  /** Do the first of all that the handler does to end the invocation: callback, context, promise or exception. */
  first(finish) {
    if (this.#isFinished) return;
    this.#isFinished = true;
    finish();
  }

  /** As Lambda's runtime does it: agents put functions of theirs in the place of the context's, to see the end. */
  #follow(result, { succeed, fail }) {
    result.then(
      (value) => this.#settle(() => this.succeed(value), succeed, value),
      (error) => this.#settle(() => this.fail(error ?? "handled"), fail, error),
    );
  }

  async #settle(answer, told, value) {
    this.#outcome = answer;
    try {
      await told(value);
    } catch (error) {
      console.warn("an agent's function in the place of context.succeed or context.fail has failed, and the handler's answer is sent all the same:", error);
      this.first(answer);
    }
  }

  /** The handler has ended, and an agent has not passed that on yet. */
  get #isOnItsWay() {
    return this.#outcome !== undefined && !this.#isFinished;
  }

  #runStreaming(handler, body, told) {
    this.stream = new ResponseStream(this.#outgoing, handler[HIGH_WATER_MARK]);
    const result = handler(JSON.parse(body), this.stream, contextOf(told, this));
    this.#isPromised = typeof result?.then === "function";
    this.#finishStream(result);
  }

  async #finishStream(result) {
    try {
      if (!this.#isPromised) {
        const words = "Streaming does not support non-async handlers.";
        if (!this.stream.writableEnded) throw words;
        logError("Invoke Error", words); // all of the answer is there
      } else if ((await result) !== undefined) console.warn("Streaming handlers ignore return values.");
      await this.stream.written;
      this.#answerSoon(() => this.stream.complete());
    } catch (error) {
      this.fail(error);
    }
  }

  #callBack(error, result) {
    if (error !== undefined && error !== null) this.fail(error);
    else if (this.waitsForEmptyLoop && !areTogether) this.#result = { value: result };
    else this.succeed(result);
  }

  /** Notice when nothing is left to wait for. A stream has its connection to wait for. */
  #watchLoop() {
    if (!areTogether && !this.stream && !this.#isAnswered) alive.unref();
  }

  /** The event loop is empty, and there is no answer yet. */
  emptied() {
    if (this.#isOnItsWay) this.first(this.#outcome);
    else if (this.#result || !this.#isPromised) this.succeed(this.#result?.value ?? null);
    else this.fail(runtimeError("NodeJsExit", "the handler's promise is pending, and nothing is left that could settle it"));
  }

  succeed(result) {
    if (this.#isAnswered) return;
    let json;
    try {
      json = JSON.stringify(result === undefined ? null : result);
    } catch {
      // Circular, or a BigInt.
    }
    if (json === undefined) this.fail(runtimeError("JSONStringifyError", "Unable to stringify response body"));
    else this.#answerSoon(() => this.#post(200, "result", json));
  }

  #answerSoon(send) {
    this.#send = send;
    afterRejections(() => this.#answer(send));
  }

  fail(error, words = "Invoke Error") {
    if (this.#isAnswered) return;
    logError(words, error);
    if (this.#send) return this.#answer(this.#send); // the error is not that of the answer
    const document = documentOf(error);
    const told = `${JSON.stringify(document)}\n${xrayCauseOf(document)}`;
    if (!this.#outgoing.headersSent) return this.#answer(() => this.#post(500, "failure", told));
    this.#answer(() => {
      this.#outgoing.write(frame("e", Buffer.from(told)));
      this.#outgoing.end();
    });
  }

  /** The process ends by an error. What the handler has ended with goes before it: the error is somebody else's. */
  end(error, words) {
    if (!this.#isOnItsWay) return this.fail(error, words);
    logError(words, error);
    this.first(this.#outcome);
  }

  #answer(send) {
    if (this.#isAnswered) return;
    this.#isAnswered = true;
    alive.ref();
    send();
  }

  #post(status, kind, body) {
    const octets = Buffer.from(body);
    const head = { "content-type": "application/json", "content-length": octets.length, [ANSWER]: kind };
    if (isEnding) head.connection = "close";
    this.#outgoing.writeHead(status, head).end(octets);
  }
}

// ---- streamed answers

function frame(kind, content) {
  const octets = Buffer.allocUnsafe(5 + content.length);
  octets.write(kind, 0, "latin1");
  octets.writeUInt32BE(content.length, 1);
  octets.set(content, 5);
  return octets;
}

class ResponseStream extends Writable {
  _onBeforeFirstWrite = undefined;
  #outgoing;
  #type = "application/octet-stream";
  #isBegun = false;

  constructor(outgoing, highWaterMark) {
    super({ highWaterMark: highWaterMark || undefined });
    this.#outgoing = outgoing;
    this.written = new Promise((resolve, reject) => {
      this.on("finish", resolve);
      this.on("error", reject);
      outgoing.on("close", () => this.destroy(outgoing.writableFinished ? undefined : new Error("the client has gone")));
    });
    this.written.catch(() => {}); // the handler's own error says more
  }

  setContentType(type) {
    if (this.#isBegun || this.writableLength) throw runtimeError("InvalidStreamingOperation", "Cannot set content-type, too late.");
    http.validateHeaderValue("content-type", type);
    this.#type = type;
  }

  write(chunk, ...rest) {
    const isPlain = typeof chunk === "string" || chunk instanceof Uint8Array;
    this.#prepend();
    return super.write(isPlain ? chunk : JSON.stringify(chunk), ...rest);
  }

  end(chunk, ...rest) {
    this.#prepend();
    return super.end(chunk, ...rest);
  }

  #prepend() {
    const prepend = this._onBeforeFirstWrite;
    this._onBeforeFirstWrite = undefined;
    prepend?.((chunk) => super.write(chunk));
  }

  #begin() {
    if (this.#isBegun) return;
    this.#isBegun = true;
    this.#outgoing.writeHead(200, { "content-type": this.#type, [ANSWER]: "stream" });
  }

  _write(chunk, _encoding, done) {
    this.#begin();
    if (this.#outgoing.destroyed) done(new Error("the client has gone"));
    else if (this.#outgoing.write(frame("d", chunk))) done();
    else this.#outgoing.once("drain", done);
  }

  /** End the answer, whose last piece is written. */
  complete() {
    this.#begin();
    this.#outgoing.end(frame(".", Buffer.alloc(0)));
  }
}

// ---- the process

/** Log what nobody has caught, and fail the invocations that are open. */
function tell(words, thrown) {
  const error = words === UNHANDLED_REJECTION ? unhandledRejection(thrown) : thrown;
  const waiting = [...open].filter((invocation) => !invocation.isAnswered);
  if (!waiting.length) logError(words, error);
  for (const invocation of waiting) invocation.end(error, words);
}

function take(handler, headers, body, outgoing) {
  if ("x-fairlead-readiness" in headers) return outgoing.writeHead(204).end();
  if (!(INVOCATION in headers)) return outgoing.writeHead(404).end("events come from Fairlead alone\n");
  const told = JSON.parse(headers[INVOCATION]);
  const invocation = new Invocation(told, outgoing);
  const run = () => invocation.run(handler, body, told);
  return local ? local.run(invocation, run) : run();
}

function serveOnNode(answer, place) {
  const server = http.createServer({ maxHeaderSize: LONGEST_HEAD }, (incoming, outgoing) => {
    const pieces = [];
    incoming.on("data", (piece) => pieces.push(piece));
    incoming.on("end", () => answer(incoming.headers, Buffer.concat(pieces).toString(), outgoing));
  });
  // Agents replace it in the prototype or here, to make a web request of each that comes: these are events.
  Object.defineProperty(server, "emit", { get: () => EventEmitter.prototype.emit, set() {} });
  server.keepAliveTimeout = 0; // Fairlead decides how long a connection is used
  server.on("connection", (socket) => socket.unref());
  server.listen(place.port, place.hostname);
  server.unref();
  return closerOf(server);
}

/** Serve `handler` until the process ends. `report` is told of an error that comes before anything is served. */
export async function serveEvents(handler, place, report) {
  if ((handler[STREAMING] ?? false) !== false && handler[STREAMING] !== "response") {
    throw runtimeError("MalformedStreamingHandler", "Only response streaming is supported.");
  }
  alive = setInterval(() => {}, 2 ** 30);
  const answer = (headers, body, outgoing) => take(handler, headers, body, outgoing);
  const close = globalThis.Bun ? (await import("./bun.mjs")).serveOnBun(answer, place) : serveOnNode(answer, place);
  endOnErrors(close, tell, () => latest === NOBODY, report);
  // Bun tells of a rejection after it has found the event loop empty.
  process.on("beforeExit", () => setTimeout(() => open.forEach((invocation) => invocation.emptied())));
}
