// Runs a JavaScript or TypeScript handler module as a web server, under Bun, Deno or Node: FILE EXPORT HANDLER.
//
//   EXPORT fetch      export default { fetch(request) { ... } }, or export function fetch: Request in, Response out
//   anything else     export async function handler(event, context): an event in, its result out, as on Lambda's Node
//
// Fairlead asks it over HTTP on PORT. Fields that begin with x-fairlead- come from there alone, never from a client.
// Under Deno this is loaded before the module, which is the entry, so that the module's own configuration counts.

import process from "node:process";
import { inspect } from "node:util";
import { pathToFileURL } from "node:url";

const [file, name, handlerName] = globalThis.Deno ? Deno.args : process.argv.slice(2);
const place = { port: Number(process.env.PORT ?? 8080), hostname: "127.0.0.1" };
const takesRequests = name === "fetch";

// Modules that were CommonJS once have their exports one level, or two, below `default`.
function* levelsOf(module) {
  for (let level = module; level && ["object", "function"].includes(typeof level); level = level.default) {
    yield level;
    if (level.default === level) return;
  }
}

function found(module) {
  for (const level of levelsOf(module)) {
    if (takesRequests) {
      if (typeof level.fetch === "function") return level;
      continue;
    }
    const value = name.split(".").reduce((inner, key) => inner?.[key], level);
    if (value !== undefined) return value;
  }
  return undefined;
}

function named(error, type) {
  const named = new Error(String(error));
  return Object.assign(named, { name: `Runtime.${type}`, stack: error.stack });
}

async function load() {
  let module;
  try {
    module = await import(pathToFileURL(file).href);
  } catch (error) {
    if (error instanceof SyntaxError) throw named(error, "UserCodeSyntaxError");
    if (/MODULE_NOT_FOUND$/.test(error?.code) || error?.name === "ResolveMessage") throw named(error, "ImportModuleError");
    throw error;
  }
  const handler = found(module);
  if (takesRequests ? handler : typeof handler === "function") return handler;
  const wanted = takesRequests
    ? "`export default { fetch(request) { ... } }`. A program that serves by itself needs no handler, but a run.sh"
    : `\`export function ${name}(event, context) { ... }\``;
  throw named(`${file} has no function ${name}: it needs ${wanted}`, "HandlerNotFound");
}

// Fairlead finds the last line that has this form (runtime/report.py), and posts what it says.
function giveUp(error) {
  const isError = error instanceof Error;
  const trace = isError && typeof error.stack === "string" ? error.stack.split("\n") : [];
  const told = { errorType: isError ? error.name : typeof error, errorMessage: isError ? error.message : String(error), trace };
  process.stderr.write(`${inspect(error)}\nInit Error\t${JSON.stringify(told)}\n`);
  process.exit(1);
}

// One of the module's own decides what happens.
process.on("SIGTERM", () => process.listenerCount("SIGTERM") > 1 || process.exit(0));
try {
  if (takesRequests) {
    const { serveRequests } = await import("./requests.mjs");
    serveRequests(await load(), place);
  } else {
    process.env._HANDLER = handlerName; // which agents read
    const { prepare, serveEvents } = await import("./events.mjs");
    prepare();
    await serveEvents(await load(), place);
  }
} catch (error) {
  giveUp(error);
}
