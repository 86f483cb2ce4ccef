#!/bin/sh
DENO_DIR=$LAMBDA_TASK_ROOT/.deno_dir exec deno run --no-prompt --cached-only -N -E -R --allow-sys app.mjs
