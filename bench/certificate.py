"""A certificate for the loopback interface, made anew for each run."""

import contextlib
import datetime
import ipaddress
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.lines import HOST


@dataclass(frozen=True)
class Certificate:
    """Files in PEM."""

    certfile: Path
    keyfile: Path


@contextlib.contextmanager
def self_signed() -> Iterator[Certificate]:
    """Have a certificate for 127.0.0.1, in a temporary folder.

    P-256, what most sites use today: an RSA key would make the handshake of the server several times as dear.
    """
    # Imported here: without --tls the benchmarks do well without the package.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, HOST)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    with tempfile.TemporaryDirectory() as folder:
        files = Certificate(Path(folder, "cert.pem"), Path(folder, "key.pem"))
        files.certfile.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files.keyfile.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        yield files
