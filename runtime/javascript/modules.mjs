// Finds a handler's module by its name, and says how Node has to load it.

import { readFileSync, statSync } from "node:fs";
import path from "node:path";

// The first that is there, as in runtime/javascript/module.py.
const SUFFIXES = [".js", ".mjs", ".cjs", ".ts", ".mts", ".cts", ".jsx", ".tsx"];
const PACKAGES = ["node_modules", "/opt/nodejs/node_modules"];
// The beginning of a line that CommonJS has no use for. Where it is in a text, the module is imported, which does no harm.
const MODULE_SYNTAX = /^[ \t]*(?:import\b(?!\s*[(.])|export\b)/m;

function isFile(file) {
  return statSync(file, { throwIfNoEntry: false })?.isFile() ?? false;
}

/** The file and the name in it that `folder/module.name` means below the folder `root`; undefined: there is none. */
export function moduleOf(root, handler) {
  const at = handler.lastIndexOf("/") + 1;
  const parts = handler.slice(at).split(".");
  for (let count = 1; parts[0] && count < parts.length; count++) {
    const stem = handler.slice(0, at) + parts.slice(0, count).join(".");
    const files = SUFFIXES.map((suffix) => path.resolve(root, stem + suffix));
    if (!path.isAbsolute(stem)) files.push(...PACKAGES.map((folder) => path.resolve(root, folder, stem, "index.js")));
    const file = files.find(isFile);
    if (file) return { file, name: parts.slice(count).join(".") };
  }
  return undefined;
}

/** The `type` of the package.json that counts for the files of `folder`. */
function typeOf(folder) {
  while (path.basename(folder) !== "node_modules") {
    const manifest = path.join(folder, "package.json");
    if (isFile(manifest)) {
      try {
        return JSON.parse(readFileSync(manifest, "utf8"))?.type;
      } catch {
        return undefined; // Node says what is wrong with it
      }
    }
    if (folder === "/") break;
    folder = path.dirname(folder);
  }
  return undefined;
}

/** Whether Lambda's Node runtime would `require` the file. Agents put theirs in the place of what `require` gives. */
export function isCommonJs(file) {
  if (/\.c[jt]s$/.test(file)) return true;
  if (!/\.[jt]s$/.test(file)) return false;
  const type = typeOf(path.dirname(file));
  return type === "commonjs" || (type !== "module" && !MODULE_SYNTAX.test(readFileSync(file, "utf8")));
}
