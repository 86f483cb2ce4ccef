"""Lets apps that run on the layer's interpreter find the system's certificates.

Debian's OpenSSL looks for them below /usr/lib/ssl, which Amazon Linux does not have: TLS would trust nobody. `site`
imports this module at start; under -S (Fairlead's own process) it costs nothing, because nobody imports it.

The variable reaches this process's children as well. That is harmless: it names the bundle that the system's own
programs use anyway.
"""

from __future__ import annotations

import os

BUNDLES = (
    "/etc/pki/tls/certs/ca-bundle.crt",  # Amazon Linux, Fedora
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/ssl/cert.pem",  # Alpine
)

if not os.environ.get("SSL_CERT_FILE") and not os.environ.get("SSL_CERT_DIR"):
    for bundle in BUNDLES:
        if os.path.exists(bundle):
            os.environ["SSL_CERT_FILE"] = bundle
            break
