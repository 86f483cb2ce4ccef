#!/bin/sh
# PORT is set by Fairlead; Astro reads it by itself, and HOST.
HOST=127.0.0.1 exec bun dist/server/entry.mjs
