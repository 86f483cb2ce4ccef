// `console` as Lambda's Node runtime has it: one line per call, with time, request id and level, on stdout.
// AWS_LAMBDA_LOG_FORMAT and AWS_LAMBDA_LOG_LEVEL choose form and level
// (https://docs.aws.amazon.com/lambda/latest/dg/nodejs-logging.html).

import process from "node:process";
import { format } from "node:util";

const LEVELS = ["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"];
const isJson = process.env.AWS_LAMBDA_LOG_FORMAT?.toUpperCase() === "JSON";
const lowest = Math.max(0, LEVELS.indexOf(process.env.AWS_LAMBDA_LOG_LEVEL?.toUpperCase()));

function lines(value) {
  return typeof value === "string" ? value.split("\n") : [];
}

// Errors have no enumerable properties of their own that JSON would show.
function shown(_key, value) {
  if (!(value instanceof Error)) return value;
  const { name = "UnknownError" } = value.constructor ?? {};
  return { errorType: name, errorMessage: value.message, stackTrace: lines(value.stack), ...value };
}

function recordOf(level, { requestId, tenantId }, values) {
  const record = { timestamp: new Date().toISOString(), level, requestId };
  if (tenantId) record.tenantId = tenantId;
  if (values.length === 1) {
    try {
      return JSON.stringify({ ...record, message: values[0] }, shown);
    } catch {
      return JSON.stringify({ ...record, message: format(values[0]) }); // circular, or a BigInt
    }
  }
  record.message = format(...values);
  const error = values.find((value) => value instanceof Error);
  return JSON.stringify(error ? { ...record, ...shown("", error) } : record);
}

/** Let the methods of `console` write lines as Lambda has them; `current` tells the invocation that they belong to. */
export function patchConsole(current) {
  function method(level) {
    if (LEVELS.indexOf(level) < lowest) return () => {};
    return (...values) => {
      const invocation = current();
      const line = isJson
        ? recordOf(level, invocation, values)
        : [new Date().toISOString(), invocation.requestId, level, format(...values)].map(String).join("\t");
      process.stdout.write(`${line.replaceAll("\n", "\r")}\n`); // CloudWatch makes one event of one line
    };
  }
  for (const level of LEVELS) console[level.toLowerCase()] = method(level);
  console.log = console.info;
}

function enumerable(_key, value) {
  if (!(value instanceof Error)) return value;
  const described = { errorType: value.name, errorMessage: value.message, code: value.code, ...value };
  if (typeof value.stack === "string") described.stack = lines(value.stack);
  return described;
}

/** Log an error after the words that say what has failed. Never fails, whatever was thrown. */
export function logError(words, thrown) {
  try {
    write(words, thrown);
  } catch {
    console.error(words, "(what was thrown cannot be shown)");
  }
}

function write(words, thrown) {
  const error = thrown instanceof Error ? thrown : new Error(String(thrown));
  if (isJson) {
    console.error(error);
    return;
  }
  let told;
  try {
    told = JSON.stringify(error, enumerable);
  } catch {
    told = JSON.stringify({ errorType: error.name, errorMessage: error.message, stack: lines(error.stack) });
  }
  console.error(words, `\t${told}`);
}
