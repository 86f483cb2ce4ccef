#!/bin/bash
# What layer/in-container.sh runs in the container: the checkout is at /checkout, the zips go to /out, and on stdin are
# certificates to trust, or nothing.
set -euo pipefail
# A container's first process ends by Ctrl-C only where it has a trap, and bash runs a trap only between two commands:
# so the work is a background job. With this process all others end.
trap 'exit 130' INT TERM

trust() {
  cat >/certificates.pem
  [[ -s /certificates.pem ]] || return 0
  export PIP_CERT=/certificates.pem
  echo "Acquire::https::CAInfo \"$PIP_CERT\";" >/etc/apt/apt.conf.d/certificates
}

# The image's own archives, or the ones that the layers are made from: a company's network may have no others.
choose_archives() {
  [[ -n ${DEBIAN_MIRROR:-} ]] || return 0
  local codename
  codename=$(sed -n s/^VERSION_CODENAME=//p /etc/os-release)
  rm -f /etc/apt/sources.list.d/*
  echo "deb $DEBIAN_MIRROR $codename main" >/etc/apt/sources.list
  [[ -z ${DEBIAN_SECURITY_MIRROR:-} ]] ||
    echo "deb $DEBIAN_SECURITY_MIRROR $codename-security main" >>/etc/apt/sources.list
}

build() {
  choose_archives
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
    ca-certificates debian-archive-keyring python3-venv >/dev/null
  mkdir /build
  tar -C /checkout --exclude=./.venv --exclude=./.cache --exclude=./dist --exclude=./.git -c . | tar -C /build -x
  /build/build-layer.sh "$@"
  cp /build/dist/fairlead-*.zip /out/
  # A rootless engine's root is the user already; docker's is the real one, so they are given to whom dist/ belongs.
  chown --reference=/out /out/fairlead-*.zip
}

trust
build "$@" &
wait $!
