// Runs a JavaScript or TypeScript handler module as a web server, under Bun, Deno or Node: FILE EXPORT HANDLER.
//
//   EXPORT fetch      export default { fetch(request) { ... } }, or export function fetch: Request in, Response out
//   anything else     export async function handler(event, context): an event in, its result out, as on Lambda's Node
//
// Fairlead asks it over HTTP on PORT. Fields that begin with x-fairlead- come from there alone, never from a client.
// Under Deno this is loaded before the module, which is the entry, so that the module's own configuration counts.

import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import process from "node:process";
import { pathToFileURL } from "node:url";

let [file, name, handlerName] = globalThis.Deno ? Deno.args : process.argv.slice(2);
const isNode = !globalThis.Deno && !globalThis.Bun;
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

// A wrapper, or an agent that was loaded before this, has put a handler of its own in the place of the function's.
async function adoptHandler(replacement) {
  const { moduleOf } = await import("./modules.mjs");
  const module = moduleOf(process.env.LAMBDA_TASK_ROOT ?? process.cwd(), replacement);
  if (!module) {
    const who = `a wrapper or an agent has set _HANDLER=${replacement} in the place of ${handlerName}`;
    throw (await import("./errors.mjs")).runtimeError("HandlerNotFound", `${who}, and there is no JavaScript module of that name`);
  }
  ({ file, name } = module);
  handlerName = replacement;
}

async function imported() {
  if (isNode && (await import("./modules.mjs")).isCommonJs(file)) return createRequire(file)(file);
  return import(pathToFileURL(file).href);
}

// What NODE_OPTIONS has Node load before all else, others leave out: Bun all of it, Deno what is to be imported.
function warnOfAgents() {
  const [runtime, options] = globalThis.Bun ? ["Bun", "-r|--require|--import"] : ["Deno", "--import"];
  const found = new RegExp(`(?:^|\\s)((?:${options}|--loader|--experimental-loader)[\\s=]+\\S+)`).exec(process.env.NODE_OPTIONS ?? "");
  if (!found) return;
  process.stderr.write(`WARN NODE_OPTIONS has Node load an agent (${found[1]}); this function is run by ${runtime}, which does not load it: have Node run it with FAIRLEAD_JAVASCRIPT_RUNTIME=node\n`);
}

// As on Lambda's Node runtime. Bun does all of it by itself.
async function findPackagesOfLayers() {
  const major = Number.parseInt(process.versions.node, 10);
  const own = `/opt/nodejs/node${major}/node_modules`;
  const isOurs = process.env.NODE_PATH?.startsWith("/opt/nodejs/node_modules:");
  if (isOurs && !globalThis.Deno && existsSync(own)) {
    process.env.NODE_PATH = `${own}:${process.env.NODE_PATH}`;
    (await import("node:module")).Module._initPaths?.();
  }
  const folders = process.env.NODE_PATH?.split(":").filter((folder) => folder.endsWith("/node_modules") && existsSync(folder));
  if (folders?.length) (await import("./packages.mjs")).lookIn(folders);
}

// What can end a module while it is loaded, other than an exception. Fairlead is told of all of it (faults.mjs).
const whileLoading = {
  uncaughtException: (error) => giveUp(error),
  unhandledRejection: (reason) => giveUp(reason, "rejected"),
  beforeExit: () => giveUp(undefined, "stuck"),
};
let hasGivenUp = false;

// Not posted as it is: what the module has written before says more, and is posted with it.
function exited() {
  if (!hasGivenUp) process.stderr.write(`the process ends while ${file} is being loaded: did that call process.exit?\n`);
}

/** Tell of an init error for what was thrown ("imported": by the import; "rejected"; "stuck"), and end. Never settles. */
async function giveUp(thrown, how = "thrown") {
  if (hasGivenUp) await new Promise(() => {}); // the process ends in a moment
  hasGivenUp = true;
  const { tell } = await import("./faults.mjs");
  await tell(thrown, how, file);
  process.exit(1);
}

async function load() {
  for (const [event, listener] of Object.entries(whileLoading)) process.on(event, listener);
  process.on("exit", exited);
  if (!globalThis.Bun) await findPackagesOfLayers();
  let module;
  try {
    module = await imported();
    await new Promise(setImmediate); // what it has left to do at once may fail
    if (hasGivenUp) await giveUp();
  } catch (error) {
    await giveUp(error, "imported");
  }
  const handler = found(module);
  if (takesRequests ? !handler : typeof handler !== "function") {
    const { missing } = await import("./faults.mjs");
    await giveUp(missing(file, name, handler, module));
  }
  for (const [event, listener] of Object.entries(whileLoading)) process.off(event, listener);
  process.off("exit", exited);
  endWithSignal();
  return handler;
}

// One of the module's own decides what happens. While it is loaded there is none: Deno would wait for it, and for a
// module that is stuck.
function endWithSignal() {
  process.on("SIGTERM", () => process.listenerCount("SIGTERM") > 1 || process.exit(0));
}

async function start() {
  if (takesRequests) {
    const { serveRequests } = await import("./requests.mjs");
    serveRequests(await load(), place, giveUp);
  } else {
    const replacement = (process.env._HANDLER ||= handlerName);
    if (replacement !== handlerName && replacement !== `${process.env.LAMBDA_TASK_ROOT}/${handlerName}`) await adoptHandler(replacement);
    const { prepare, serveEvents } = await import("./events.mjs");
    prepare();
    await serveEvents(await load(), place, giveUp);
  }
}

if (!isNode) warnOfAgents();
const started = start().catch(giveUp);
// Deno waits with its entry, the module, until it is served. Bun would wait for ever for a module that is stuck.
if (globalThis.Deno) await started;
