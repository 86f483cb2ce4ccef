// The same for handlers that are ES modules: a hook into `import` first.
import { register } from "node:module";

register("@opentelemetry/instrumentation/hook.mjs", import.meta.url);
await import("./lambda-wrapper.js");
