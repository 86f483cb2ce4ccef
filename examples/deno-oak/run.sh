#!/bin/sh
# Starts the app. Fairlead sets PORT; deno is in Fairlead's layer for Deno.
# Deno writes to its cache, and on Lambda only /tmp can be written. So its databases go there, and links to the packages.
cache=$LAMBDA_TASK_ROOT/.deno_dir
export DENO_DIR=/tmp/deno
if [ -d "$cache" ]; then
  mkdir -p "$DENO_DIR"
  cp "$cache"/*_cache_* "$DENO_DIR"
  ln -sfn "$cache/npm" "$cache/gen" "$DENO_DIR"
  set -- --cached-only # what is not there is an error now, and not a download
fi
exec deno run --no-prompt --allow-env --allow-net --allow-read "$@" main.ts
