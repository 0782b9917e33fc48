"""Transfer of an image to a host: a pipe of save, compress and load, without a registry or a temporary file."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

from deploy.factory.errors import FactoryError
from deploy.factory.host import Host, feed

CHUNK = 1 << 16


@dataclass(frozen=True)
class ImageTransfer:
    """The commands that transfer an image.

    Args:
        tag: Tag of the image.
        compressor: zstd or gzip.
    """

    tag: str
    compressor: str

    @property
    def save(self) -> list[str]:
        """The local command that writes the image to stdout."""
        return ["docker", "save", self.tag]

    @property
    def compress(self) -> list[str]:
        """The local command that compresses it, at a fast level: a slower one would be the bottleneck."""
        return ["zstd", "--quiet", "-T0", "--stdout"] if self.compressor == "zstd" else ["gzip", "--fast", "--stdout"]

    @property
    def load(self) -> list[str]:
        """The host's command that loads it; every Docker unpacks gzip itself, but only recent ones unpack zstd."""
        return ["sh", "-c", "zstd -dc | docker load"] if self.compressor == "zstd" else ["docker", "load"]


def choose_compressor(remote: str) -> str:
    """Return zstd if both ends have it, else gzip; remote is what the host has."""
    return "zstd" if remote == "zstd" and shutil.which("zstd") else "gzip"


def transfer(image_transfer: ImageTransfer, host: Host, on_bytes: Callable[[int], object]) -> None:
    """Send an image to a host.

    Args:
        image_transfer: The image's tag and its compressor.
        host: The host, connected.
        on_bytes: Called with the number of bytes of each chunk sent.

    Raises:
        FactoryError: If the image cannot be read here or loaded there.
    """
    with (
        tempfile.TemporaryFile() as local_errors,
        subprocess.Popen(image_transfer.save, stdout=subprocess.PIPE, stderr=local_errors) as save,
        subprocess.Popen(
            image_transfer.compress, stdin=save.stdout, stdout=subprocess.PIPE, stderr=local_errors
        ) as compress,
        host.start(host.command(*image_transfer.load), stderr=subprocess.STDOUT) as load,
    ):
        assert save.stdout is not None
        assert compress.stdout is not None
        assert load.stdin is not None
        assert load.stdout is not None
        try:
            save.stdout.close()  # only the compressor holds it now: if one process exits, so does the other
            feed(load.stdin, _counted(compress.stdout, on_bytes))
            compress.stdout.close()
            output = load.stdout.read().decode(errors="replace").strip()
            statuses = [load.wait(), save.wait(), compress.wait()]
        finally:
            for process in (save, compress, load):
                process.kill()
        local_errors.seek(0)
        local_error = local_errors.read().decode(errors="replace").strip()
    if statuses[0] != 0:
        reason = output or local_error or "the connection was lost"
        raise FactoryError(f"{host.target} could not load the image: {reason}")
    if any(statuses):
        raise FactoryError(f"reading the image failed here: {local_error}")


def _counted(stream: IO[bytes], on_bytes: Callable[[int], object]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        on_bytes(len(chunk))
        yield chunk
