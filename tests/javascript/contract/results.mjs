// One handler; the event names what it does. Each case is run under Lambda's own runtime and under ours.
const circular = {};
circular.self = circular;

class OrderNotFound extends Error {
  name = "OrderNotFound";
}

function named(name, message = "said so", more = {}) {
  return Object.assign(new Error(message), { name, ...more });
}

function thrown(value) {
  throw value;
}

export const RESULTS = {
  text: () => "text",
  number: () => 1.5,
  nothing: () => undefined,
  null: () => null,
  list: () => [1, undefined, () => 1, NaN, new Date(0)],
  object: () => ({ a: 1, b: undefined, c: "é\u2028\u0000", d: new Map([[1, 2]]), e: new Uint8Array(2), "ключ": true }),
  "lone surrogate": () => "\ud83d",
  toJSON: () => ({ toJSON: () => ({ inside: true }) }),
  circular: () => circular,
  bigint: () => ({ n: 1n }),
  "toJSON that throws": () => ({ toJSON: () => thrown(new Error("no JSON")) }),
  function: () => () => 1,
  symbol: () => Symbol("s"),
  response: () => ({ statusCode: 201, body: '{"batchItemFailures":[]}' }),
  "large number": () => 123456789012345680000,
};

export const FAILURES = {
  error: () => thrown(new Error("broken")),
  "no message": () => thrown(new Error()),
  TypeError: () => undefined.x,
  "class with a name": () => thrown(new OrderNotFound("order 7")),
  "class without a name": () => thrown(new (class Nameless extends Error {})("unnamed")),
  S3ServiceException: () => thrown(named("S3ServiceException")),
  notFound: () => thrown(named("notFound")),
  "blank and dots": () => thrown(named("My.Custom Err")),
  "name not in ASCII": () => thrown(named("Ошибка", "ё \u007f \ud83d")),
  "empty name": () => thrown(named("")),
  "name that is a number": () => thrown(named(7)),
  "line breaks": () => thrown(named("Broken", "one\r\ntwo\u0000")),
  cause: () => thrown(new Error("outer", { cause: new TypeError("inner", { cause: "text" }) })),
  "cause of itself": () => thrown(Object.assign(new Error("again"), { cause: undefined })),
  aggregate: () => thrown(new AggregateError([new Error("one")], "several")),
  "duck-typed": () => thrown({ name: "Duck", message: "quack", stack: "Duck: quack\n    at pond:1:2" }),
  "stack removed": () => thrown(Object.assign(new Error("bare"), { stack: undefined })),
  string: () => thrown("text"),
  number: () => thrown(7),
  object: () => thrown({ code: 1 }),
  bigint: () => thrown(10n),
  boolean: () => thrown(false),
  undefined: () => thrown(undefined),
  null: () => thrown(null),
  symbol: () => thrown(Symbol("s")),
  "object without prototype": () => thrown(Object.create(null)),
  "message that throws": () => thrown(Object.defineProperty(new Error(), "message", { get: () => thrown(new Error("no")) })),
  SyntaxError: () => JSON.parse("{"),
  "huge message": () => thrown(new Error("x".repeat(200_000))),
};

export async function handler(event) {
  return (RESULTS[event.result] ?? FAILURES[event.failure])();
}

export const synchronous = (event, _context, _callback) => (RESULTS[event.result] ?? FAILURES[event.failure])();
