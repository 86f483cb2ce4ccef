#!/bin/bash
# Builds the layers in a Debian 12 container, for machines without apt: layer/in-container.sh [what build-layer.sh takes].
# Needs docker or podman (CONTAINER_ENGINE names another that takes the same commands). The checkout is mounted read-only
# and copied, so that no .venv of the container's is left here; only dist/ is written to.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
fail() { echo "${0##*/}: $1" >&2; exit 1; }
image=${CONTAINER_IMAGE:-debian:12}

answers() { command -v "$1" >/dev/null && timeout 30 "$1" info >/dev/null 2>&1; }
engine=${CONTAINER_ENGINE:-}
if [[ -z $engine ]]; then
  for engine in docker podman ''; do [[ -z $engine ]] || ! answers "$engine" || break; done
elif ! answers "$engine"; then
  fail "$engine (CONTAINER_ENGINE) does not answer: start it, and try '$engine info'"
fi
[[ -n $engine ]] ||
  fail "no container engine answers: install docker or podman and start it ('docker info' has to work), or build on Debian"

settings=()
for name in DEBIAN_MIRROR DEBIAN_SECURITY_MIRROR SOURCE_DATE_EPOCH LAYER_WITH PIP_INDEX_URL \
  http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [[ -z ${!name+set} ]] || settings+=(--env "$name")
done
mkdir -p dist
# A rootless engine's root is this user already; docker's is the real one, so the zips are given to whom dist/ belongs.
exec "$engine" run --rm --security-opt label=disable "${settings[@]}" \
  --volume "$PWD:/checkout:ro" --volume "$PWD/dist:/out" "$image" bash -euc '
    apt-get update -qq
    apt-get install -qq -y --no-install-recommends ca-certificates debian-archive-keyring python3-venv >/dev/null
    mkdir /build && tar -C /checkout --exclude=./.venv --exclude=./.cache --exclude=./dist --exclude=./.git -c . | tar -C /build -x
    /build/build-layer.sh "$@"
    cp /build/dist/fairlead-*.zip /out/
    chown --reference=/out /out/fairlead-*.zip
  ' bash "$@"
