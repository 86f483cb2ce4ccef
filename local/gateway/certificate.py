"""A certificate for this machine's own names, so that the gateway can speak HTTPS as AWS's front ends do.

It is signed by itself and may sign no other, so who trusts it trusts nothing but the names that stand in it.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from ..cache import CACHE, once

NAMES = ("localhost", "*.localhost", "127.0.0.1", "::1")
VALID_DAYS = 825  # the longest that every browser takes
RENEWED_AFTER_DAYS = 365
CERTIFICATE, KEY = "certificate.pem", "key.pem"


def ensure(also: Iterable[str] = ()) -> Path:
    """The folder with ``certificate.pem`` and ``key.pem`` for this machine and the names ``also``, made if need be."""
    names = [*NAMES, *sorted(_certifiable(also) - set(NAMES))]
    age = datetime.now(UTC).toordinal() // RENEWED_AFTER_DAYS
    known = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    return once(CACHE / "tls" / f"{age}-{known}", lambda draft: _make(draft, names))


def context(folder: Path) -> ssl.SSLContext:
    """The TLS context of a server with the certificate in ``folder``."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    made.set_alpn_protocols(["http/1.1"])
    return made


def _certifiable(names: Iterable[str]) -> set[str]:
    return {f"*{name}" if name.startswith(".") else name for name in names}


def _make(draft: Path, names: Iterable[str]) -> None:
    # Imported here: 50 ms that a run without HTTPS need not pay.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def general(name: str) -> x509.GeneralName:
        try:
            return x509.IPAddress(ip_address(name))
        except ValueError:
            return x509.DNSName(name)

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Fairlead on this machine")])
    now = datetime.now(UTC)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign"), False
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=VALID_DAYS - 1))
        .add_extension(x509.SubjectAlternativeName([general(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(digital_signature=True, crl_sign=False, encipher_only=False, decipher_only=False, **usage),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (draft / CERTIFICATE).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(draft / KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(private)
