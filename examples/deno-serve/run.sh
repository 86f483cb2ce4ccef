#!/bin/sh
# Starts the app. Fairlead sets PORT; deno is in Fairlead's layer for Deno, and writes to DENO_DIR.
DENO_DIR=/tmp/deno exec deno serve --no-prompt --allow-read=. --host 127.0.0.1 --port "$PORT" app.ts
