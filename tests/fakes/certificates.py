"""Certificates for servers of tests."""

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = timedelta(1)


def write_certificate(path: Path, key=None, valid: tuple[timedelta, timedelta] = (-DAY, DAY)) -> Path:
    """Write a self-signed certificate of 127.0.0.1 and localhost, and its key, into one file.

    Args:
        path: The file.
        key: A private key; a new one by default.
        valid: Start and end of the validity, relative to now.

    Returns:
        The path.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    number = x509.random_serial_number()  # part of the name, so that two trusted certificates can be distinguished
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"a test {number}")])
    now = datetime.now(UTC)
    addresses = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")])
    built = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(number).not_valid_before(now + valid[0]).not_valid_after(now + valid[1])
        .add_extension(addresses, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )  # fmt: skip
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(built.sign(key, hashes.SHA256()).public_bytes(pem) + private)
    return path
