"""The payload as replace.sh reads it on the host."""

import io
import tarfile

from deploy.factory.payload import FILES, Payload
from security.files import read_bounded
from service.settings import SECRETS

OWNER = 10001  # uid and gid of the service in the image, see the Dockerfile
KEYS = "microkubes"


def to_archive(payload: Payload) -> bytes:
    """Return the payload as bytes: `NAME=value` lines, an empty line, and a tar for /run/secrets.

    The service owns everything in the tar; directories have mode 0700, and files 0600.

    Raises:
        OSError: If a key cannot be read.
    """
    lines = "".join(f"{name}={value}\n" for name, value in sorted(payload.variables.items()))
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        files = str(FILES.relative_to(SECRETS))
        for folder in (KEYS, files):
            _add(tar, folder, 0o700)
        for name, value in payload.secrets.items():
            _add(tar, name, 0o600, value.encode())
        for name, content in payload.files.items():
            _add(tar, f"{files}/{name}", 0o600, content)
        for key in payload.keys:
            # The modification time may be the only record of a key's age.
            _add(tar, f"{KEYS}/{key.name}", 0o600, read_bounded(key), int(key.stat().st_mtime))
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
