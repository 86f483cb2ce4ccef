import { serve } from "bknd/adapter/aws";
import config from "./config.js";

// As on a managed Node runtime: bknd's own handler, which takes the event and answers with the payload.
export const handler = serve({
  ...config,
  assets: process.env.ASSETS_URL
    ? { mode: "url", url: process.env.ASSETS_URL }
    : { mode: "local", root: "dist/static" },
});
