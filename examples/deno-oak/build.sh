#!/bin/sh
# Puts Oak, and Oak compiled, into .deno_dir. Deno finds compiled code by the path of its source, so this runs at the path
# that the app has on Lambda: in a namespace of its own, with this folder as /var/task.
set -eu
cd "$(dirname "$0")"
if [ "$PWD" != /var/task ]; then
  if unshare --user --map-root-user --mount true; then
    # shellcheck disable=SC2016 # $0 is for the shell inside
    exec unshare --user --map-root-user --mount sh -euc \
      'mount -t tmpfs none /var; mkdir /var/task; mount --bind "$0" /var/task; cd /var/task; exec ./build.sh' "$PWD"
  fi
  echo "no namespace can be made here: the app will work, and start some 50 ms later" >&2
fi
export DENO_DIR="$PWD/.deno_dir"
deno cache --frozen main.ts
deno run --no-prompt --allow-env --allow-net --allow-read --cached-only main.ts --warm-up
