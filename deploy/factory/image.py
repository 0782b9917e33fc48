"""The image as the engine here has it."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.factory.errors import FactoryError
from service import __version__

ROOT = Path(__file__).parent.parent.parent
NAME = f"loaner:{__version__}"


@dataclass(frozen=True)
class Image:
    """reference: what people call it. identity: its SHA-256. platform: such as linux/amd64. size: bytes, unpacked."""

    reference: str
    identity: str
    platform: str = ""
    size: int = 0

    @property
    def tag(self) -> str:
        """A tag that names this very image: a host can be asked whether it has it, and it can be sent again later."""
        repository, _, tag = self.reference.rpartition(":")
        if not repository or "/" in tag:  # what is behind the colon is a port and a path
            repository, tag = self.reference, "image"
        mark = f"-{self.identity.removeprefix('sha256:')[:12]}"
        return f"{repository}:{tag.removesuffix(mark)}{mark}"


def build_command(arguments: Sequence[str]) -> list[str]:
    """What builds the image. arguments: further ones of `docker build`."""
    return ["docker", "build", "--file", "deploy/docker/Dockerfile", "--tag", NAME, *arguments, "."]


def build(arguments: Sequence[str]) -> None:
    """Build the image, with docker's own output. Raises: FactoryError."""
    try:
        done = subprocess.run(build_command(arguments), cwd=ROOT)
    except FileNotFoundError:
        raise FactoryError("docker is not on the PATH here; install it, or name an image with IMAGE") from None
    if done.returncode != 0:
        raise FactoryError(f"the image cannot be built: docker build ended with status {done.returncode}")


def look_at(reference: str) -> Image:
    """The image of this name. Raises: FactoryError if the engine here has none."""
    line = docker("image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}} {{.Size}}", reference)
    identity, platform, size = line.split()
    return Image(reference, identity, platform, int(size))


def docker(*arguments: str) -> str:
    """What docker prints. Raises: FactoryError with what it complains of."""
    command = ["docker", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise FactoryError("docker is not on the PATH here; install it") from None
    if done.returncode != 0:
        raise FactoryError(f"docker {arguments[0]} {arguments[1]}: {done.stderr.strip()}")
    return done.stdout.strip()
