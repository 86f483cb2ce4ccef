// What Lambda is told of a value that was thrown: the error document of its Node runtime, and the same for X-Ray.

import process from "node:process";

// Error documents go through the same gate as answers, and what a reader has to find stands at their beginning.
const TEXT_LIMIT = 100_000;
const CAUSES_LIMIT = 20;
const XRAY_LIMIT = 60 * 1024; // the platform crops it to 64 KiB
const XRAY_FRAMES = 50;
const OURS = new URL(".", import.meta.url).href;
const OUR_FOLDER = new URL(".", import.meta.url).pathname;

/** An error with a name of the platform's: `Runtime.${name}`. */
export function runtimeError(name, message) {
  const error = new Error(message);
  error.name = `Runtime.${name}`;
  return error;
}

/** What Lambda's runtime makes of the reason of a rejection that nobody handles. */
export function unhandledRejection(reason) {
  const error = runtimeError("UnhandledPromiseRejection", describe(reason));
  error.reason = reason;
  if (typeof reason?.stack === "string") error.stack = `${error.name}: ${error.message}\n${reason.stack.split("\n").slice(1).join("\n")}`;
  return error;
}

// The platform's own clients have trouble with this one character.
function plain(text) {
  return text?.replaceAll("\x7F", "%7F");
}

// An object without prototype is no text.
function describe(value) {
  try {
    return String(value);
  } catch {
    return Object.prototype.toString.call(value);
  }
}

function isError(value) {
  if (value instanceof Error) return true; // or one of another realm, or something like one
  return ["name", "message", "stack"].every((key) => typeof value?.[key] === "string" && value[key]);
}

function isOurs(line) {
  return /^\s+at /.test(line) && (line.includes(OURS) || line.includes(OUR_FOLDER));
}

/** The lines of the stack that are the handler's: not what it has called of this program, nor what has called it. */
function stackOf(error) {
  const lines = plain(error.stack).split("\n");
  const above = lines.findIndex(isOurs);
  if (above < 0) return lines;
  const isTop = !lines.slice(0, above).some((line) => /^\s+at /.test(line)); // thrown by this program
  if (!isTop) return lines.slice(0, above);
  const rest = lines.slice(above);
  const users = rest.slice(rest.findIndex((line) => !isOurs(line)));
  const below = users.findIndex(isOurs);
  if (rest.every(isOurs)) return lines.slice(0, above);
  return [...lines.slice(0, above), ...(below < 0 ? users : users.slice(0, below))];
}

/** The stack of the error, then those of its causes, which Lambda's runtime leaves out. */
function traceOf(error) {
  const trace = stackOf(error);
  const seen = new Set([error]);
  let cause = error.cause;
  while (cause !== undefined && !seen.has(cause) && seen.size <= CAUSES_LIMIT) {
    seen.add(cause);
    const [first, ...rest] = isError(cause) ? stackOf(cause) : [describe(cause)];
    trace.push(`Caused by: ${first}`, ...rest);
    cause = isError(cause) ? cause.cause : undefined;
  }
  return trace;
}

function cropped(lines) {
  let room = TEXT_LIMIT;
  const kept = lines.filter((line) => (room -= line.length) >= 0);
  return kept.length < lines.length ? [...kept, "(the rest is left out: it is too long)"] : kept;
}

/** The error document: `errorType`, `errorMessage` and `trace`, for whatever was thrown. Never fails. */
export function documentOf(thrown) {
  try {
    if (!isError(thrown)) return { errorType: typeof thrown, errorMessage: describe(thrown).slice(0, TEXT_LIMIT), trace: [] };
    return {
      errorType: plain(thrown.name),
      errorMessage: plain(thrown.message)?.slice(0, TEXT_LIMIT),
      trace: cropped(traceOf(thrown)),
    };
  } catch {
    const errorMessage =
      "callback called with Error argument, but there was a problem while retrieving one or more of its message, name, and stack";
    return { errorType: "handled", errorMessage, trace: [] };
  }
}

function frameOf(line) {
  const words = line.trim().replace(/^at /, "").replace(/[()]/g, "").split(" ");
  const [path, number] = words.pop().replace(/^file:\/\//, "").split(":");
  return { path, line: Number.parseInt(number, 10) || 0, label: words.join(" ") || "anonymous" };
}

/** The same for X-Ray, as one line of printable ASCII; "" when there is nothing to tell. */
export function xrayCauseOf({ errorType, errorMessage, trace }) {
  const frames = trace.filter((line) => /^\s+at /.test(line)).slice(0, XRAY_FRAMES).map(frameOf);
  const exceptions = [{ type: errorType, message: errorMessage?.slice(0, 8192), stack: frames }];
  const paths = [...new Set(frames.map(({ path }) => path))];
  const cause = JSON.stringify({ working_directory: process.cwd(), exceptions, paths });
  const ascii = cause.replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return ascii.length <= XRAY_LIMIT ? ascii : "";
}
