// How a handler can answer, and what it is given.
import { setTimeout as sleep } from "node:timers/promises";

const WAYS = {
  callback: (_event, _context, callback) => callback(null, { a: 1 }),
  "callback later": (_event, _context, callback) => void setTimeout(() => callback(null, "later"), 1),
  "callback without a result": (_event, _context, callback) => callback(),
  "callback with an error": (_event, _context, callback) => callback(new TypeError("called back")),
  "callback with text": (_event, _context, callback) => callback("text"),
  "callback with false": (_event, _context, callback) => callback(false),
  "callback twice": (_event, _context, callback) => (callback(null, 1), callback(null, 2)),
  "callback waits for what is left to do": (_event, _context, callback) => {
    const answer = { done: [] };
    callback(null, answer);
    setTimeout(() => answer.done.push("timer"), 30);
  },
  "callback does not wait": (_event, context, callback) => {
    context.callbackWaitsForEmptyEventLoop = false;
    const answer = { done: [] };
    setTimeout(() => answer.done.push("timer"), 30);
    callback(null, answer);
  },
  "no callback at all": () => {},
  "a value and no callback": () => 5,
  "done with a result": (_event, context) => context.done(null, { b: 2 }),
  "done with an error": (_event, context) => context.done(new RangeError("done with")),
  succeed: (_event, context) => context.succeed("succeeded"),
  "succeed with nothing": (_event, context) => context.succeed(),
  fail: (_event, context) => context.fail(new Error("failed")),
  "fail with nothing": (_event, context) => context.fail(),
  "fail with text": (_event, context) => context.fail("text"),
  "thrown after a callback": (_event, _context, callback) => {
    callback(null, 1);
    throw new Error("too late");
  },
  "callback in a promise": async (_event, _context, callback) => void callback(null, 1),
  "thenable": () => ({ then: (resolve) => resolve("then") }),
  "rejected with nothing": () => Promise.reject(),
  "rejected with null": () => Promise.reject(null),
  "rejected with text": () => Promise.reject("text"),
  "awaited": async () => (await sleep(1), "slept"),
  context: async (_event, context) => ({
    ...context,
    getRemainingTimeInMillis: typeof context.getRemainingTimeInMillis(),
    keys: Object.keys(context).filter((key) => typeof context[key] !== "function").sort(),
    functions: Object.keys(context).filter((key) => typeof context[key] === "function").sort(),
  }),
  trace: async () => process.env._X_AMZN_TRACE_ID ?? null,
  global: async () => Object.keys(globalThis.awslambda).sort(),
  handler: async () => process.env._HANDLER,
};

export const handler = (event, context, callback) => WAYS[event.way](event, context, callback);
