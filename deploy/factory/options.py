"""Options of a deployment, and the host's side of them."""

import re
from dataclasses import dataclass
from pathlib import Path

from deploy.factory.errors import FactoryError
from deploy.factory.image import NAME
from deploy.factory.payload_archive import OWNER
from service.settings import ServerSettings

SCRIPTS = Path(__file__).parent
# Options of `docker create`. The service needs at most 45 s to finish its requests.
HARDENING = (
    "--user", f"{OWNER}:{OWNER}", "--read-only", "--tmpfs", "/tmp",  # noqa: S108  (in the container)
    "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    "--restart", "unless-stopped", "--stop-timeout", "45",
)  # fmt: skip


@dataclass(frozen=True)
class DeployOptions:
    """What to deploy, and how.

    Args:
        container: Name of the container on the host.
        image: A local image to deploy; None builds one.
        build_arguments: Additional arguments for `docker build`.
        memory: Memory limit of the container, as Docker writes it.
        timeout_s: Seconds to wait until the container is ready.

    Raises:
        FactoryError: If Docker would not accept the container's name.
    """

    container: str
    image: str | None
    build_arguments: tuple[str, ...]
    memory: str | None
    timeout_s: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]+", self.container):
            raise FactoryError("CONTAINER: expected letters, digits and _ . - only")

    @property
    def image_step(self) -> str:
        """Title of the step that provides the image."""
        return f"use the image {self.image}" if self.image else f"build the image {NAME}"

    def replace_arguments(self, tag: str, settings: ServerSettings) -> tuple[str, ...]:
        """Return the arguments of replace.sh for the image with this tag."""
        published = f"{settings.port}"
        if "listen_host" in settings.model_fields_set:
            address = settings.listen_host
            published = f"[{address}]:{published}" if ":" in address else f"{address}:{published}"
        memory = ("--memory", self.memory) if self.memory else ()
        return (self.container, tag, published, str(self.timeout_s), *HARDENING, *memory)


def read_script(name: str) -> str:
    """Return the text of a script that runs on the host."""
    return (SCRIPTS / f"{name}.sh").read_text()
