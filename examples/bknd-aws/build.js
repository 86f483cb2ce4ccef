import { cp, rm } from "node:fs/promises";
import { build } from "esbuild";

// What is deployed beside host.mjs and run.sh: the handler with what it imports, and the files of the admin UI.
await rm("dist", { recursive: true, force: true });
await cp("node_modules/bknd/dist/static", "dist/static", { recursive: true });
await build({
  entryPoints: ["handler.js"],
  outfile: "dist/handler.mjs",
  bundle: true,
  platform: "node",
  target: "node22",
  format: "esm",
  // Packages in CommonJS ask for Node's own modules with require(), which a module has not.
  banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
});
