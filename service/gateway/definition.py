"""What a service wants of a gateway."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

DECLARATION_TAG_PREFIX = "declared:"  # what a tag begins with that tells of the declaration


@dataclass(frozen=True)
class Plugin:
    """A plugin of the service. fields: what of it is declared beside its name, such as `config`."""

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Definition:
    """A service and its one route, of the same name.

    paths: where the gateway offers it; they are stripped. host, port: where the gateway finds it. health_path: not
    None if it is found through an upstream of the gateway, whose targets are checked there; then host does not matter.
    protocol: what is spoken there.
    plugins: the service's plugins; None if they are nobody's business here. jwt_keys: public keys by key id, as
    (algorithm, PEM), that the plugin `jwt` is to accept, if it is among them.
    """

    name: str
    paths: tuple[str, ...]
    host: str
    port: int
    health_path: str | None = None
    plugins: Sequence[Plugin] | None = None
    jwt_keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    protocol: Literal["http", "https"] = "http"

    @property
    def declaration_tag(self) -> str:
        """What tells this declaration from that of another release."""
        told = repr((self.paths, self.target_host, self.port, self.health_path, self.plugins, self.protocol))
        return f"{DECLARATION_TAG_PREFIX}{sha256(told.encode()).hexdigest()[:12]}"

    @property
    def tags(self) -> list[str]:
        """What our entities are known by."""
        return [f"managed-by:{self.name}", f"service:{self.name}"]

    @property
    def upstream(self) -> str | None:
        """The name of the upstream, if there is one."""
        return None if self.health_path is None else f"{self.name}.upstream"

    @property
    def target_host(self) -> str:
        """What the service entity points to: a name to be resolved, or the upstream's."""
        return self.upstream or self.host
