// Packages of layers. Lambda's Node runtime looks in NODE_PATH for `import` too, which Node itself does for `require`
// alone, and Deno for neither.

import module from "node:module";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";

const PATH = /^(\.|\/|#|[a-z]+:)/;

/** Let `import` (Node) and `require` (Deno) find what is in one of the folders, each called node_modules. */
export function lookIn(folders) {
  // Node has them since 22.15. Before, its `import` finds nothing of a layer.
  module.registerHooks?.({
    resolve(specifier, context, next) {
      try {
        return next(specifier, context);
      } catch (error) {
        if (!/MODULE_NOT_FOUND$/.test(error?.code) || PATH.test(specifier)) throw error;
        for (const folder of folders) {
          const parentURL = pathToFileURL(`${dirname(folder)}/_.mjs`).href; // of one who would look in it first
          try {
            if (!globalThis.Deno) return next(specifier, { ...context, parentURL });
            const url = pathToFileURL(module.createRequire(parentURL).resolve(specifier)).href;
            return { url, shortCircuit: true };
          } catch {
            // Not in this one.
          }
        }
        throw error;
      }
    },
  });
}
