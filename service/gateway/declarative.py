"""The declaration as a file, for gateways without a database and for decK.

Sources: `kong/db/schema/others/declarative_config.lua` of Kong/kong for the file's form, and decK's documentation for
`_info.select_tags`. Kong rejects `_info`, which decK needs in order to leave entities of other owners alone.
"""

from collections.abc import Sequence
from typing import Any, Literal

import yaml

from service.gateway.admin_api import AdminApi, Entity
from service.gateway.definition import Definition
from service.gateway.dialect import KongDialect
from service.gateway.plan import carry_out
from service.gateway.registrator import RegistrationException
from service.gateway.version import GatewayVersion

# The versions of the format, each with the first gateway that reads it.
FORMATS = {"3.0": GatewayVersion((3, 0)), "2.1": GatewayVersion((2, 1)), "1.1": GatewayVersion((1, 1))}


def export(
    definition: Definition, format_version: str, reader: Literal["kong", "deck"], targets: Sequence[str] = ()
) -> str:
    """Return a declaration in YAML.

    Args:
        definition: The declaration.
        format_version: One of FORMATS.
        reader: The program that reads the file.
        targets: Targets of the upstream, each as `host:port`.

    Raises:
        RegistrationException: If the declaration lacks targets for its upstream, or has targets without one.
    """
    if bool(targets) != (definition.upstream is not None):
        raise RegistrationException(
            "SERVICE_DISCOVERY=upstream needs the address of each instance in the file: --target HOST:PORT"
            if definition.upstream
            else "a target needs SERVICE_DISCOVERY=upstream"
        )
    gateway = _EmptyGateway()
    carry_out(KongDialect(gateway, FORMATS[format_version], definition, adopt=False).plan(lenient=True))
    document = {
        "_format_version": format_version,
        **({"_info": {"select_tags": definition.tags[:1]}} if reader == "deck" else {}),
        **_document(gateway.entities, definition, targets),
    }
    return str(yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=120))


class _Dumper(yaml.SafeDumper):
    """Writes for people too: repeated values in full, and texts of several lines as such."""

    def ignore_aliases(self, data: object) -> bool:
        """Return whether a repeated value is written in full."""
        return True

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Return the node of a text."""
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Dumper.add_representer(str, _Dumper.represent_str)


class _EmptyGateway(AdminApi):
    """A gateway that has nothing yet. It keeps what registration writes, and sends nothing.

    Attributes:
        entities: The entities that were written, by kind and name.
    """

    def __init__(self) -> None:
        super().__init__("http://empty", 0)
        self.entities: dict[str, dict[str, Entity]] = {}

    def _request(
        self, method: str, path: str, entity: Entity | None, workspace: str | None = None
    ) -> tuple[int, Entity | None]:
        # Either the path of an entity or, for a POST, of a collection. Only the last kind and name matter.
        parts = path.strip("/").split("/")
        kind, name = parts[-2:] if method != "POST" else (parts[-1], None)
        if method == "GET":
            return 404, None
        assert entity is not None
        key = name or str(entity.get("name") or entity.get("key"))
        kept = self.entities.setdefault(kind, {})
        if (method, kind) == ("PATCH", "plugins"):  # the mark of what a gateway made of it
            return 200, kept[key]
        kept[key] = {**kept.get(key, {}), **entity}
        return (200 if name else 201), {"id": key, **kept[key]}


def _document(
    entities: dict[str, dict[str, Entity]], definition: Definition, targets: Sequence[str]
) -> dict[str, list[Entity]]:
    """Return the entities, each with those that belong to it inside."""
    name, tags = definition.name, {"tags": definition.tags}
    routes = [_named(route_name, route, without="service") for route_name, route in entities["routes"].items()]
    plugins = list(entities.get("plugins", {}).values())
    service = _named(name, entities["services"][name]) | {"routes": routes} | _unless_empty("plugins", plugins)
    document = {"services": [service]}
    if definition.upstream is not None:
        upstream = _named(definition.upstream, entities["upstreams"][definition.upstream])
        document["upstreams"] = [
            {**upstream, "targets": [{"target": target, "weight": 100, **tags} for target in targets]}
        ]
    if "consumers" in entities:
        keys = list(entities.get("jwt", {}).values())
        consumer = {"username": name, **entities["consumers"][name]} | _unless_empty("jwt_secrets", keys)
        document["consumers"] = [consumer]
    return document


def _named(name: str, entity: Entity, without: str | None = None) -> Entity:
    return {"name": name, **{field: value for field, value in entity.items() if field != without}}


def _unless_empty(field: str, entities: Sequence[Any]) -> Entity:
    return {field: list(entities)} if entities else {}
