"""Certificates for one test run: an authority, a server at localhost, a client."""

import datetime
import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass
class Certificates:
    """Files in PEM form.

    Attributes:
        authority: The certificate that all others are signed with.
        server: The server's, key and certificate in one file.
        client: The client's, likewise.
        client_der: The client's certificate as a server sees it.
    """

    authority: Path
    server: Path
    client: Path
    client_der: bytes

    def trusting(self, *, with_client: bool = False) -> ssl.SSLContext:
        """What a client connects with."""
        context = ssl.create_default_context(cafile=str(self.authority))
        if with_client:
            context.load_cert_chain(self.client)
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make them in `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("Test authority", key, "Test authority", key, is_authority=True)
    paths = []
    for name in ("localhost", "client"):
        own = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate(name, own, "Test authority", key)
        path = folder / f"{name}.pem"
        private = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
        paths.append((path, certificate))
    root = folder / "authority.pem"
    root.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    (server, _), (client, client_certificate) = paths
    return Certificates(root, server, client, client_certificate.public_bytes(serialization.Encoding.DER))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    is_authority: bool = False,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    issuer_public = issuer_key.public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_public), critical=False)
    )
    if is_authority:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    else:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
