import { createApp } from "bknd/adapter/bun";
import { serveStatic } from "hono/bun";
import config from "./config.js";

// The names of these files change with what is in them, so that a browser may keep them.
const keep = (_path, context) => context.header("cache-control", "public, max-age=31536000, immutable");

// Before anybody is served: a database that cannot be reached ends the start, with the reason.
const files = serveStatic({ root: "dist/static", onFound: keep });
const app = await createApp({ ...config, distPath: "dist", serveStatic: files });
Bun.serve({ fetch: app.fetch, port: Number(process.env.PORT), hostname: "127.0.0.1" });
