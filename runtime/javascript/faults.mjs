// What Fairlead is told of a module that cannot be served: the init error, in the names of Lambda's Node runtime.

import { existsSync } from "node:fs";
import module from "node:module";
import process from "node:process";
import { inspect } from "node:util";
import { documentOf, runtimeError, unhandledRejection } from "./errors.mjs";

// Fairlead keeps 6 KiB of what is written last (runtime/web/app_process.py).
const LIMIT = 5 * 1024;
const MESSAGE_LIMIT = 2000;
const RUNTIME = globalThis.Bun ? "Bun" : globalThis.Deno ? "Deno" : "Node";
// Codes of errors in finding a module. Deno has the second for whatever is wrong with one.
const UNRESOLVED = new Set([
  "MODULE_NOT_FOUND",
  "ERR_MODULE_NOT_FOUND",
  "ERR_INVALID_MODULE_SPECIFIER",
  "ERR_INVALID_PACKAGE_CONFIG",
  "ERR_INVALID_PACKAGE_TARGET",
  "ERR_PACKAGE_IMPORT_NOT_DEFINED",
  "ERR_PACKAGE_PATH_NOT_EXPORTED",
  "ERR_UNKNOWN_FILE_EXTENSION",
  "ERR_UNSUPPORTED_DIR_IMPORT",
  "ERR_UNSUPPORTED_ESM_URL_SCHEME",
]);

// ---- what may help. The first that fits

const SPECIFIER = /(?:Cannot find (?:package|module) |Import |ENOENT reading )['"]([^'"]+)['"]/;
const CACHE_ALONE = /--cached-only is specified|in the node_modules directory/;
const AWS_SDK = /^(aws-sdk|@aws-sdk\/|@smithy\/)/;

/** Where a layer has the package, though it was not found; "" if none has. */
function inLayer(specifier) {
  const name = /^(@[^/]+\/)?[^@./#:][^/:]*(?=\/|$)/.exec(specifier)?.[0];
  const folders = process.env.NODE_PATH?.split(":").filter((folder) => folder.endsWith("/node_modules")) ?? [];
  return (name && folders.map((folder) => `${folder}/${name}`).find((path) => existsSync(path))) ?? "";
}

function remedy(error) {
  const message = String(error?.message);
  const specifier = error?.specifier ?? SPECIFIER.exec(message)?.[1] ?? "";
  const scheme = /^(npm|jsr|https?):/.exec(specifier)?.[1] ?? /protocol '(npm|jsr|https?):'/.exec(message)?.[1];
  if (RUNTIME === "Deno" && CACHE_ALONE.test(message)) {
    return 'nothing is downloaded when a function starts: "nodeModulesDir": "auto" and "vendor": true in deno.json and then `deno install` put all of it into the folders node_modules and vendor, to be deployed with the function';
  }
  if (RUNTIME === "Deno" && message.startsWith("The lockfile is out of date")) {
    return "deno.lock cannot be changed when a function starts: run `deno install`, and deploy the new one";
  }
  if (RUNTIME !== "Deno" && scheme) {
    return `${RUNTIME} knows no ${scheme}: specifiers, which are Deno's: add the layer with Deno, and set FAIRLEAD_JAVASCRIPT_RUNTIME=deno if there are others`;
  }
  const layers = RUNTIME === "Node" && module.registerHooks ? "" : inLayer(specifier);
  if (layers) {
    const looks = RUNTIME === "Bun" ? "Bun looks for main alone, and not for exports" : `${RUNTIME}'s import does not look`;
    return `it is in a layer, where ${looks}: a link to ${layers} in the function's node_modules helps`;
  }
  if (AWS_SDK.test(specifier)) {
    return "Lambda's managed runtime brings the AWS SDK along, Fairlead does not: install it in the function's folder, or add a layer that has it";
  }
  if (error?.code === "ERR_UNKNOWN_FILE_EXTENSION" && /\.[jt]sx"/.test(message)) {
    return "Node runs no JSX: compile it, or add the layer with Bun or Deno";
  }
  if (RUNTIME === "Node" && /Cannot find package '(@|~)\//.test(message)) {
    return "Node knows nothing of tsconfig.json's paths, which Bun does: bundle the function, or use package.json's imports (#name)";
  }
  return "";
}

// ---- names

function inParentheses(words) {
  return words ? ` (${words})` : "";
}

function renamed(error, type, words) {
  const fault = runtimeError(type, words);
  if (typeof error?.stack === "string") fault.stack = error.stack;
  return fault;
}

// Bun tells of syntax in errors of its own, several at once; and of what it cannot read.
const UNREAD = /^ENOENT /;
function syntaxOf(error) {
  const first = error?.name === "AggregateError" ? error.errors?.[0] : error;
  if (first?.name === "BuildMessage" && !UNREAD.test(first.message)) {
    const { file, line, column } = first.position ?? {};
    return `SyntaxError: ${first.message}${inParentheses(file && `${file}:${line}:${column}`)}`;
  }
  if (error instanceof SyntaxError) return String(error);
  return /^SyntaxError: |^The module's source code could not be parsed/.test(error?.message) ? error.message : undefined;
}

/** The error of an import under the name that Lambda's Node runtime gives it, with what may help. */
function imported(error) {
  const syntax = syntaxOf(error);
  if (syntax) return renamed(error, "UserCodeSyntaxError", syntax);
  if (!UNRESOLVED.has(error?.code) && !["ResolveMessage", "BuildMessage"].includes(error?.name)) return error;
  return renamed(error, "ImportModuleError", `${error}${inParentheses(remedy(error))}`);
}

/** The error of a module in which nothing of that name can be called; `value` is what has the name. */
export function missing(file, name, value, module) {
  const own = "`export default { fetch(request) { ... } }`, or a run.sh in place of a handler, if it serves by itself";
  const call = name === "fetch" ? own : `\`export function ${name}(event, context) { ... }\``;
  const [outer, ...inner] = name.split(".");
  const wanted = inner.length ? `an object ${outer} with a function ${inner.join(".")}` : call;
  const names = Object.keys(module).filter((key) => key !== "__esModule" && key !== "module.exports");
  const kind = value === undefined ? "" : ` (it is ${value === null ? "null" : `of type ${typeof value}`})`;
  return runtimeError("HandlerNotFound", `${file} has no function ${name}${kind}: it needs ${wanted}. It exports ${names.join(", ") || "nothing"}`);
}

const STUCK = "awaits something at its top level that does not come, and nothing is left to do that could bring it";

function faultOf(thrown, how, file) {
  if (how === "imported") return imported(thrown);
  if (how === "rejected") return unhandledRejection(thrown);
  if (how === "stuck") return runtimeError("NodeJsExit", `${file} ${STUCK}`);
  return thrown;
}

// ---- the line that Fairlead looks for (runtime/report.py), and posts

function shortened(document) {
  const told = { ...document, errorMessage: document.errorMessage?.slice(0, MESSAGE_LIMIT) };
  for (;;) {
    const line = JSON.stringify(told).replace(/[\x7f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
    if (line.length <= LIMIT) return line;
    if (told.trace.length) told.trace = told.trace.slice(0, told.trace.length >> 1);
    else told.errorMessage = told.errorMessage.slice(0, told.errorMessage.length >> 1);
  }
}

function shown(value) {
  try {
    return inspect(value);
  } catch {
    return "(what was thrown cannot be shown)";
  }
}

/** Write the init error for what was thrown, and how, to stderr. Settles when that is written; never fails. */
export function tell(thrown, how, file) {
  let fault = thrown;
  try {
    fault = faultOf(thrown, how, file);
  } catch {
    // Something about it throws in turn.
  }
  const lines = [...(how === "stuck" ? [] : [shown(thrown)]), `Init Error\t${shortened(documentOf(fault))}`];
  const text = `${lines.join("\n")}\n`;
  return new Promise((resolve) => process.stderr.write(text, resolve)); // more than a pipe holds, at times
}
