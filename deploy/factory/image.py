"""The service's image in the local Docker engine."""

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
    """An image in the local engine.

    Args:
        reference: Name under which it was found, such as loaner:0.1.0.
        identity: SHA-256 digest of its configuration, its Docker id.
        platform: Operating system and architecture, such as linux/amd64.
        size: Uncompressed size in bytes.
    """

    reference: str
    identity: str
    platform: str = ""
    size: int = 0

    @property
    def tag(self) -> str:
        """A tag that includes the image's id, so that it identifies this exact image on any host."""
        repository, _, tag = self.reference.rpartition(":")
        if not repository or "/" in tag:  # the colon precedes a registry's port
            repository, tag = self.reference, "image"
        suffix = f"-{self.identity.removeprefix('sha256:')[:12]}"
        return f"{repository}:{tag.removesuffix(suffix)}{suffix}"


def build_command(arguments: Sequence[str]) -> list[str]:
    """Return the command that builds the image; arguments are added to `docker build`."""
    return ["docker", "build", "--file", "deploy/docker/Dockerfile", "--tag", NAME, *arguments, "."]


def build(arguments: Sequence[str]) -> None:
    """Build the image, showing Docker's output.

    Args:
        arguments: Additional arguments for `docker build`.

    Raises:
        FactoryError: If Docker is missing or the build fails.
    """
    try:
        done = subprocess.run(build_command(arguments), cwd=ROOT)
    except FileNotFoundError:
        raise FactoryError("docker is not on the local PATH; install it, or name an image with IMAGE") from None
    if done.returncode != 0:
        raise FactoryError(f"building the image failed: docker build exited with status {done.returncode}")


def find_image(reference: str) -> Image:
    """Return the image with this name.

    Raises:
        FactoryError: If the local engine has no such image.
    """
    line = docker("image", "inspect", "--format", "{{.Id}} {{.Os}}/{{.Architecture}} {{.Size}}", reference)
    identity, platform, size = line.split()
    return Image(reference, identity, platform, int(size))


def docker(*arguments: str) -> str:
    """Run docker and return its output.

    Raises:
        FactoryError: If the command fails; the message has Docker's error output.
    """
    command = ["docker", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise FactoryError("docker is not on the local PATH; install it") from None
    if done.returncode != 0:
        raise FactoryError(f"docker {arguments[0]} {arguments[1]}: {done.stderr.strip()}")
    return done.stdout.strip()
