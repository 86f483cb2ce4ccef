#!/bin/bash
# Builds the layers in a Debian 12 container, for machines without apt: layer/in-container.sh [what build-layer.sh takes].
# Needs docker or podman (CONTAINER_ENGINE names another that takes the same commands, CONTAINER_OPTIONS more options of
# its `run`). The checkout is mounted read-only and copied, so that no .venv of the container's is left here; only dist/
# is written to.
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

read -ra options <<<"${CONTAINER_OPTIONS:-}"
for name in DEBIAN_MIRROR DEBIAN_SECURITY_MIRROR SOURCE_DATE_EPOCH LAYER_WITH PIP_INDEX_URL \
  http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  [[ -z ${!name+set} ]] || options+=(--env "$name")
done
# Whom this machine trusts, a company's own authority included, the container trusts too. Through stdin and not mounted:
# an engine in a virtual machine sees only a part of this machine's files.
for certificates in "${PIP_CERT:-}" "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt \
  /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem /dev/null; do
  [[ ! -r $certificates || -d $certificates ]] || break
done
mkdir -p dist
exec "$engine" run --rm --interactive --security-opt label=disable "${options[@]}" \
  --volume "$PWD:/checkout:ro" --volume "$PWD/dist:/out" "$image" \
  bash /checkout/layer/inside-container.sh "$@" <"$certificates"
