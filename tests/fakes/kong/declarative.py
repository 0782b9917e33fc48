"""Loads a declarative configuration into a fake gateway, which has no database from then on.

Follows `kong/db/schema/others/declarative_config.lua` of Kong/kong: the top level has only these members, and entities
may be inside those that they belong to.
"""

from typing import Any

from tests.fakes.kong.fake_kong import FakeKong

TOP_LEVEL = {"_format_version", "_transform", "_comment", "services", "upstreams", "consumers"}


def load(kong: FakeKong, document: dict[str, Any]) -> None:
    """Load a configuration. Fails if the gateway rejects a part of it."""

    def write(method: str, path: str, entity: dict[str, Any]) -> None:
        status, reply = kong.answer(method, path, entity)
        assert status in (200, 201), reply

    unknown = document.keys() - TOP_LEVEL
    assert not unknown, f"unknown fields: {unknown}"
    assert document["_format_version"] in (("1.1", "2.1", "3.0") if kong.version.startswith("3.") else ("1.1", "2.1"))
    for upstream in document.get("upstreams", []):
        targets, name = upstream.pop("targets"), upstream["name"]
        write("PUT", f"/upstreams/{name}", upstream)
        for target in targets:
            write("POST", f"/upstreams/{name}/targets", target)
    for service in document.get("services", []):
        routes, plugins, name = service.pop("routes"), service.pop("plugins", []), service["name"]
        write("PUT", f"/services/{name}", service)
        for route in routes:
            write("PUT", f"/services/{name}/routes/{route['name']}", route)
        for plugin in plugins:
            write("POST", f"/services/{name}/plugins", plugin)
    for consumer in document.get("consumers", []):
        keys, name = consumer.pop("jwt_secrets", []), consumer["username"]
        write("PUT", f"/consumers/{name}", consumer)
        for key in keys:
            write("POST", f"/consumers/{name}/jwt", key)
    kong.database = "off"
