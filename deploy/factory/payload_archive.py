"""The bytes that the switch reads on the host: settings as lines, and a tar of what is secret."""

import io
import tarfile

from deploy.factory.payload import FILES, Luggage
from service.settings import SECRETS

OWNER = 10001  # whom the Dockerfile lets the service be
KEYS = "microkubes"


def wrap(luggage: Luggage) -> bytes:
    """`NAME=value` lines, an empty line, and a tar for /run/secrets: directories 0700, files 0600, the service's own.

    Raises: OSError for a key that cannot be read.
    """
    lines = "".join(f"{name}={value}\n" for name, value in sorted(luggage.variables.items()))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        files = str(FILES.relative_to(SECRETS))
        for folder in (KEYS, files):
            _add(tar, folder, 0o700)
        for name, value in luggage.secrets.items():
            _add(tar, name, 0o600, value.encode())
        for name, content in luggage.files.items():
            _add(tar, f"{files}/{name}", 0o600, content)
        for key in luggage.keys:
            _add(tar, f"{KEYS}/{key.name}", 0o600, key.read_bytes(), int(key.stat().st_mtime))  # it may tell its age
    return f"{lines}\n".encode() + buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, mode: int, content: bytes | None = None, written: int = 0) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime, entry.uid, entry.gid = mode, written, OWNER, OWNER
    if content is None:
        entry.type = tarfile.DIRTYPE
        tar.addfile(entry)
    else:
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
