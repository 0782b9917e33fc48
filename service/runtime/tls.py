"""The certificate that the service shows, and its key: looked at before they are used, and again when they change."""

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

from security.files import Fingerprint, fingerprint, write_atomic
from service.errors import SettingsError
from service.observability import metrics
from service.settings import TlsSettings

log = logging.getLogger(__name__)

LOOK_S = 1.0  # between two looks at the files


@dataclass(frozen=True)
class Certificate:
    """A certificate, those that lead from it to an authority, and its key, as one PEM. expires: when it does."""

    pem: bytes
    expires: datetime


def read_certificate(settings: TlsSettings) -> Certificate | None:
    """What TLS_CERT and TLS_KEY hold, or None if they are not set. What is returned is what the server can use.

    Raises: SettingsError naming the setting that is wrong.
    """
    if settings.cert is None and settings.key is None:
        return None
    if settings.cert is None or settings.key is None:
        missing, there = ("TLS_CERT", "TLS_KEY") if settings.cert is None else ("TLS_KEY", "TLS_CERT")
        raise SettingsError(f"{missing} is not set, {there} is: https needs both")
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
        raise SettingsError(f"TLS_CERT: {path} holds no certificate in PEM that can be read") from err
    first, now = chain[0], datetime.now(UTC)
    if first.version != x509.Version.v3:
        raise SettingsError(f"TLS_CERT: the certificate in {path} is of an old version; expected X.509 v3")
    if first.not_valid_after_utc < now:
        raise SettingsError(f"TLS_CERT: the certificate in {path} has expired at {first.not_valid_after_utc}")
    if first.not_valid_before_utc > now:
        raise SettingsError(f"TLS_CERT: the certificate in {path} is not valid before {first.not_valid_before_utc}")
    return chain


def _key(path: str) -> RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey:
    try:
        # unsafe for keys of strangers: to look for the factors of a long one takes seconds, and this one is ours
        key = load_pem_private_key(_content("TLS_KEY", path), None, unsafe_skip_rsa_key_validation=True)
    except TypeError as err:
        raise SettingsError(f"TLS_KEY: {path} is encrypted; expected a key without a password") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise SettingsError(f"TLS_KEY: {path} holds no private key in PEM that can be read") from err
    # the server's workers end at once with any other
    if isinstance(key, RSAPrivateKey) and 2048 <= key.key_size <= 4096:
        return key
    if isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1 | SECP384R1):
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise SettingsError(f"TLS_KEY: expected RSA of 2048 to 4096 bits, P-256, P-384 or Ed25519 in {path}")


def _content(setting: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as err:
        raise SettingsError(f"{setting}: {path} cannot be read: {err.strerror}") from err


class CertificateReloader:
    """The certificate in use, in a file of its own: workers read what was looked at, whatever becomes of TLS_CERT and
    TLS_KEY meanwhile. Each has another name, so that a worker which is just starting finds the one it was told of.

    folder: where these files are made, for this user only.
    """

    def __init__(self, settings: TlsSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._marks = self._seen = self._look()
        self._used = read_certificate(settings)
        self._number = 0
        self._taken: list[Path] = []
        self._last_error = ""
        if self._used is not None:
            self._write(self._used)

    def take(self) -> Path | None:
        """The file of certificates and key for workers that start from now on, or None without TLS."""
        if self._used is not None and self._file(self._number) not in self._taken:
            self._taken.append(self._file(self._number))
            for old in self._taken[:-2]:  # no worker is starting any more with the one before the last
                old.unlink(missing_ok=True)
                self._taken.remove(old)
        return self._taken[-1] if self._taken else None

    def follow(self, changed: Callable[[], object]) -> None:
        """Look for a new one, in the background, for as long as the process runs. changed: is called when there is
        another file to take.
        """
        if self._used is not None:
            threading.Thread(target=self._follow, args=(changed,), name="certificate", daemon=True).start()

    def _follow(self, changed: Callable[[], object]) -> None:
        pause = threading.Event()
        while not pause.wait(LOOK_S):
            try:
                if self._take_up():
                    changed()
            except Exception:
                log.exception("TLS_CERT and TLS_KEY cannot be looked at; what was read before stays in use")

    def _take_up(self) -> bool:
        """Whether there is a new one."""
        marks = self._look()
        still, self._seen = marks == self._seen, marks
        if marks == self._marks or not still:  # whoever replaces two files is not done after the first
            return False
        try:
            found = read_certificate(self._settings)
            assert found is not None
            if found != self._used:
                self._write(found)
        except (SettingsError, OSError) as err:
            if str(err) != self._last_error:
                log.error("%s; the certificate that was read before stays in use", err)
                self._last_error = str(err)
            return False
        new, self._used = found != self._used, found
        self._marks, self._last_error = marks, ""
        return new

    def _file(self, number: int) -> Path:
        return self._folder / f"certificate-{number}.pem"

    def _look(self) -> tuple[Fingerprint | None, ...]:
        return tuple(_mark(path) for path in (self._settings.cert, self._settings.key))

    def _write(self, certificate: Certificate) -> None:
        write_atomic(self._file(self._number + 1), certificate.pem, 0o600)
        self._number += 1
        metrics.certificate_expiry.set(certificate.expires.timestamp())
        log.info("TLS_CERT: its certificate is used until %s", certificate.expires)


def _mark(path: str | None) -> Fingerprint | None:
    try:
        return None if path is None else fingerprint(Path(path))
    except OSError:
        return None
