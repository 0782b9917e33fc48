"""An image on its way: saved here, compressed, loaded there, without a registry and without a file in between."""

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
class Shipping:
    """What an image goes through. compressor: zstd or gzip."""

    tag: str
    compressor: str

    @property
    def save(self) -> list[str]:
        """What reads the image here."""
        return ["docker", "save", self.tag]

    @property
    def compress(self) -> list[str]:
        """What makes it smaller, quickly: a slow compressor would keep most networks waiting."""
        return ["zstd", "--quiet", "-T0", "--stdout"] if self.compressor == "zstd" else ["gzip", "--fast", "--stdout"]

    @property
    def load(self) -> list[str]:
        """What the host does with it; docker unpacks gzip itself, and zstd only where it is new."""
        return ["sh", "-c", "zstd -dc | docker load"] if self.compressor == "zstd" else ["docker", "load"]


def compressor_of(theirs: str) -> str:
    """What both ends have: zstd, or else gzip. theirs: what the host has."""
    return "zstd" if theirs == "zstd" and shutil.which("zstd") else "gzip"


def ship(shipping: Shipping, host: Host, tell: Callable[[int], object]) -> None:
    """Send an image. tell: gets the number of bytes each time that some leave.

    Raises: FactoryError; the host then has what it had before.
    """
    with (
        tempfile.TemporaryFile() as complaints,
        subprocess.Popen(shipping.save, stdout=subprocess.PIPE, stderr=complaints) as save,
        subprocess.Popen(shipping.compress, stdin=save.stdout, stdout=subprocess.PIPE, stderr=complaints) as compress,
        host.start(host.command(*shipping.load), stderr=subprocess.STDOUT) as load,
    ):
        assert save.stdout is not None
        assert compress.stdout is not None
        assert load.stdin is not None
        assert load.stdout is not None
        try:
            save.stdout.close()  # it is the compressor's alone, so that one who ends early ends the other
            feed(load.stdin, _counted(compress.stdout, tell))
            compress.stdout.close()
            answer = load.stdout.read().decode(errors="replace").strip()
            statuses = [load.wait(), save.wait(), compress.wait()]
        finally:
            for process in (save, compress, load):
                process.kill()
        complaints.seek(0)
        complaint = complaints.read().decode(errors="replace").strip()
    if statuses[0] != 0:
        raise FactoryError(f"{host.target} did not take the image: {answer or complaint or 'the connection was lost'}")
    if any(statuses):
        raise FactoryError(f"the image cannot be read here: {complaint}")


def _counted(stream: IO[bytes], tell: Callable[[int], object]) -> Iterator[bytes]:
    while chunk := stream.read(CHUNK):
        tell(len(chunk))
        yield chunk
