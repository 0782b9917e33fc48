"""The server's TLS certificate: checked before use, and reloaded when its files change."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from security.files import Fingerprint, fingerprint, read_bounded, write_atomic
from service.errors import SettingsError
from service.observability import metrics
from service.settings import TlsSettings

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 1.0


@dataclass(frozen=True)
class Certificate:
    """A certificate that the server can use.

    Args:
        pem: The certificate, its intermediates and its private key.
        expires: When the certificate expires.
    """

    pem: bytes
    expires: datetime


def read_certificate(settings: TlsSettings) -> Certificate | None:
    """Read and check TLS_CERT and TLS_KEY.

    Returns:
        A certificate that the server can use, or None if the settings are not set.

    Raises:
        SettingsError: If the files cannot be used. The message names the setting.
    """
    if settings.cert is None and settings.key is None:
        return None
    if settings.cert is None or settings.key is None:
        missing, present = ("TLS_CERT", "TLS_KEY") if settings.cert is None else ("TLS_KEY", "TLS_CERT")
        raise SettingsError(f"{missing} is not set; HTTPS requires it together with {present}")
    chain = _certificates(settings.cert)
    key = _key(settings.key)
    public = [each.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
              for each in (chain[0].public_key(), key.public_key())]  # fmt: skip
    if public[0] != public[1]:
        raise SettingsError(f"TLS_KEY: {settings.key} is not the key of the first certificate in TLS_CERT")
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in chain)
    pem += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Certificate(pem, chain[0].not_valid_after_utc)


def _certificates(path: str) -> list[x509.Certificate]:
    try:
        chain = x509.load_pem_x509_certificates(_content("TLS_CERT", path))
        for each in chain:
            each.public_key()
    except (ValueError, UnsupportedAlgorithm) as err:
        raise SettingsError(f"TLS_CERT: {path} contains no readable PEM certificate") from err
    first, now = chain[0], datetime.now(UTC)
    if first.version != x509.Version.v3:
        raise SettingsError(f"TLS_CERT: the certificate in {path} has an old format; expected X.509 v3")
    if first.not_valid_after_utc < now:
        raise SettingsError(f"TLS_CERT: the certificate in {path} expired at {first.not_valid_after_utc}")
    if first.not_valid_before_utc > now:
        raise SettingsError(f"TLS_CERT: the certificate in {path} is not valid before {first.not_valid_before_utc}")
    return chain


def _key(path: str) -> RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey:
    try:
        # Validating a long RSA key takes seconds. Skipping it is unsafe only for keys from untrusted sources.
        key = load_pem_private_key(_content("TLS_KEY", path), None, unsafe_skip_rsa_key_validation=True)
    except TypeError as err:
        raise SettingsError(f"TLS_KEY: {path} is encrypted; expected a key without a passphrase") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise SettingsError(f"TLS_KEY: {path} contains no readable PEM private key") from err
    # With any other key, the server's workers exit immediately.
    if isinstance(key, RSAPrivateKey) and 2048 <= key.key_size <= 4096:
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1 | SECP384R1):
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise SettingsError(f"TLS_KEY: expected RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519 in {path}")


def _content(setting: str, path: str) -> bytes:
    try:
        return read_bounded(Path(path))
    except OSError as err:
        raise SettingsError(f"{setting}: {path} cannot be read: {err.strerror}") from err


class CertificateReloader:
    """Reloads TLS_CERT and TLS_KEY when they change.

    Workers read a copy that was checked, so changes of the original files cannot break them. Each version has another
    file name, so a worker that is starting still finds the version that was current before.

    Args:
        settings: Names the certificate and the key.
        directory: Where the copies are written. Only this user may have access.

    Raises:
        SettingsError: If the certificate cannot be used.
    """

    def __init__(self, settings: TlsSettings, directory: Path) -> None:
        self._settings = settings
        self._directory = directory
        self._loaded_fingerprints = self._last_fingerprints = self._read_fingerprints()
        self._certificate = read_certificate(settings)
        self._version = 0
        self._in_use: list[Path] = []
        self._last_error = ""
        if self._certificate is not None:
            self._write(self._certificate)

    def current(self) -> Path | None:
        """Return the PEM file for workers that start from now on; None without TLS. Removes files out of use."""
        if self._certificate is not None and self._path(self._version) not in self._in_use:
            self._in_use.append(self._path(self._version))
            for old in self._in_use[:-2]:  # starting workers use one of the last two
                old.unlink(missing_ok=True)
                self._in_use.remove(old)
        return self._in_use[-1] if self._in_use else None

    def watch(self, on_change: Callable[[], object]) -> None:
        """Check for changes in a background thread for as long as the process runs.

        Args:
            on_change: Called when `current` has a new certificate.
        """
        if self._certificate is not None:
            threading.Thread(target=self._run, args=(on_change,), name="certificate", daemon=True).start()

    def _run(self, on_change: Callable[[], object]) -> None:
        pause = threading.Event()
        while not pause.wait(CHECK_INTERVAL_S):
            try:
                if self._reload():
                    on_change()
            except Exception:
                log.exception("cannot check TLS_CERT and TLS_KEY; keeping the current certificate")

    def _reload(self) -> bool:
        """Load the files if they have changed, and return whether the certificate is a new one."""
        fingerprints = self._read_fingerprints()
        is_stable, self._last_fingerprints = fingerprints == self._last_fingerprints, fingerprints
        if fingerprints == self._loaded_fingerprints or not is_stable:  # both files are replaced one after the other
            return False
        try:
            found = read_certificate(self._settings)
            assert found is not None
            if found != self._certificate:
                self._write(found)
        except (SettingsError, OSError) as err:
            if str(err) != self._last_error:
                log.error("keeping the current certificate: %s", err)
                self._last_error = str(err)
            return False
        is_new, self._certificate = found != self._certificate, found
        self._loaded_fingerprints, self._last_error = fingerprints, ""
        return is_new

    def _path(self, version: int) -> Path:
        return self._directory / f"certificate-{version}.pem"

    def _read_fingerprints(self) -> tuple[Fingerprint | None, ...]:
        return tuple(_read_fingerprint(path) for path in (self._settings.cert, self._settings.key))

    def _write(self, certificate: Certificate) -> None:
        write_atomic(self._path(self._version + 1), certificate.pem, 0o600)
        self._version += 1
        metrics.certificate_expiry.set(certificate.expires.timestamp())
        log.info("loaded the certificate of TLS_CERT, which expires at %s", certificate.expires)


def _read_fingerprint(path: str | None) -> Fingerprint | None:
    try:
        return None if path is None else fingerprint(Path(path))
    except OSError:
        return None
