import node from "@astrojs/node";
import { defineConfig, passthroughImageService } from "astro/config";

export default defineConfig({
  output: "server",
  adapter: node({ mode: "standalone" }),
  security: {
    // Whose Host and X-Forwarded-* headers to believe. Without a list Astro takes every page for http:// and every
    // visitor for 127.0.0.1, and refuses the forms of a page that was loaded by https.
    // No `protocol` here: Astro compares it with that of its own connection, which is Fairlead's, and http.
    allowedDomains: [
      { hostname: "**.on.aws" }, // Function URLs
      { hostname: "**.amazonaws.com" }, // API Gateway, load balancers
      { hostname: "www.example.com" }, // your own domain
      { hostname: "127.0.0.1" }, // make run
      { hostname: "localhost" },
    ],
  },
  image: { service: passthroughImageService() }, // the default one is `sharp`: native, 30 MB
  build: { inlineStylesheets: "never" },
  // Everything that is imported becomes part of dist/, so that no node_modules has to be deployed.
  vite: { ssr: { noExternal: true } },
});
