"""What is asked of the factory."""

import re
from dataclasses import dataclass
from pathlib import Path

from deploy.factory.errors import FactoryError
from deploy.factory.image import NAME
from deploy.factory.payload_archive import OWNER
from service.settings import Settings

SCRIPTS = Path(__file__).parent
# A container that can change nothing, not even itself. 45 s: what the service needs at most to finish its requests.
CONFINED = (
    "--user", f"{OWNER}:{OWNER}", "--read-only", "--tmpfs", "/tmp",  # noqa: S108  (the container's)
    "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
    "--restart", "unless-stopped", "--stop-timeout", "45",
)  # fmt: skip


@dataclass(frozen=True)
class Order:
    """container: its name on the host. image: one that exists, instead of building it. build_arguments: further ones of
    `docker build`. memory: the most that the container may have, as docker writes it. patience_s: seconds for it to
    get ready.
    """

    container: str
    image: str | None
    build_arguments: tuple[str, ...]
    memory: str | None
    patience_s: int

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]+", self.container):
            raise FactoryError("CONTAINER: expected letters, digits and _ . - only")

    @property
    def title(self) -> str:
        """The step that gets the image."""
        return f"take the image {self.image}" if self.image else f"build the image {NAME}"

    def switch(self, tag: str, settings: Settings) -> tuple[str, ...]:
        """The arguments of switch.sh. tag: of the image."""
        published = f"{settings.port}"
        if "listen_host" in settings.model_fields_set:
            address = settings.listen_host
            published = f"[{address}]:{published}" if ":" in address else f"{address}:{published}"
        memory = ("--memory", self.memory) if self.memory else ()
        return (self.container, tag, published, str(self.patience_s), *CONFINED, *memory)


def script(name: str) -> str:
    """The text of a script for the host."""
    return (SCRIPTS / f"{name}.sh").read_text()
