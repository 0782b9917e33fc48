"""Plans the plugins of the service.

The configuration of a plugin is replaced, not merged: PATCH would keep fields that are no longer declared, and `null`
unsets a field but does not restore its default. PUT resets them in every version. A tag holds a digest of the declared
configuration and of what the gateway made of it, so a difference in any field is noticed, declared or not.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from service.gateway.admin_api import Entity
from service.gateway.definition import CONFIG_TAG_PREFIX, Plugin
from service.gateway.dialect_base import Dialect
from service.gateway.diff import Change, created, diff
from service.gateway.plan import Step
from service.gateway.registrator import RegistrationException

# Fields that the gateway sets itself.
_PASSING = frozenset(("id", "created_at", "updated_at"))


def plan_plugins(dialect: Dialect, plugins: Sequence[Plugin], lenient: bool) -> list[Step]:
    """Return the steps that create, replace and remove plugins of the service.

    Args:
        dialect: The dialect of the gateway.
        plugins: The declared plugins.
        lenient: See `Reconciler.plan`.

    Raises:
        RegistrationException: If one belongs to another owner, or if the gateway would refuse its configuration.
    """
    path = f"/services/{dialect.definition.name}/plugins"
    found = {
        str(entity.get("name")): entity
        for entity in dialect.api.list(path)
        if not entity.get("route") and not entity.get("consumer")
    }
    steps = []
    for plugin in plugins:
        entity = found.pop(plugin.name, None)
        step = (
            _plan_creation(dialect, path, plugin)
            if entity is None
            else _plan_change(dialect, plugin, entity, is_current=_is_current(plugin, entity, lenient))
        )
        if step is not None:
            if not lenient:
                _check(dialect, plugin)
            steps.append(step)
    steps.extend(_plan_removal(dialect, entity) for entity in found.values() if dialect.has_own_tag(entity))
    return steps


def _check(dialect: Dialect, plugin: Plugin) -> None:
    """Let the gateway check a configuration before the first write. Versions before 2.0 cannot."""
    path = "/schemas/plugins/validate"
    try:
        dialect.api.write("POST", path, {"name": plugin.name, **plugin.fields})
    except RegistrationException as err:
        if err.status == 400:
            raise RegistrationException(f"plugin {plugin.name}: {err}", err.status) from err
        if err.status not in (403, 405):  # a role without access to schemas; the write itself then decides
            raise


def _plan_creation(dialect: Dialect, path: str, plugin: Plugin) -> Step:
    declared = {**plugin.fields, **dialect.tags}
    made: list[Entity] = []

    def create() -> None:
        status, entity = dialect.api.write("POST", path, {"name": plugin.name, **declared})
        if status == 409:  # an instance that was faster has created it
            return
        if status != 201 or entity is None:
            raise RegistrationException(f"POST {dialect.api.redacted_url}{path} answered {status}", status)
        made.append(entity)
        _mark(dialect, entity, plugin)

    def undo() -> None:
        for entity in made:
            dialect.api.write("DELETE", f"/plugins/{entity.get('id')}")

    return Step(create, undo, created(f"plugin {plugin.name}", declared))


def _plan_change(dialect: Dialect, plugin: Plugin, entity: Entity, *, is_current: bool) -> Step | None:
    what = f"plugin {plugin.name}"
    dialect.reject_foreign(what, dialect.has_own_tag(entity), dialect.describe_owner(entity))
    # The tag of the configuration is kept here, and renewed after the write.
    tags = [*dialect.definition.tags, *_config_tags(entity)]
    declared = {**{name: value for name, value in plugin.fields.items() if name != "config"}, "tags": tags}
    fields = diff(entity, declared)
    if not is_current:
        fields = {"config": _config_difference(entity.get("config") or {}, _config(plugin)), **fields}
    if not fields:
        return None
    kept = {name: value for name, value in entity.items() if name not in _PASSING and value is not None}
    wanted = {**kept, **{name: after for name, (_, after) in fields.items()}, "config": _config(plugin)}
    path = f"/plugins/{entity.get('id')}"

    def replace() -> None:
        _mark(dialect, dialect.write("PUT", path, wanted), plugin)

    return Step(replace, partial(dialect.api.write, "PUT", path, kept), Change("change", what, fields))


def _plan_removal(dialect: Dialect, entity: Entity) -> Step:
    kept = {name: value for name, value in entity.items() if name not in _PASSING and value is not None}
    path = f"/plugins/{entity.get('id')}"
    return Step(
        partial(dialect.api.write, "DELETE", path),
        partial(dialect.api.write, "PUT", path, kept),
        Change("remove", f"plugin {entity.get('name')}"),
    )


def _mark(dialect: Dialect, entity: Entity, plugin: Plugin) -> None:
    """Tag an entity with the digest of its configuration."""
    tag = _config_tag(plugin, entity)
    tags = [name for name in entity.get("tags") or () if not str(name).startswith(CONFIG_TAG_PREFIX)]
    dialect.api.write("PATCH", f"/plugins/{entity.get('id')}", {"tags": [*tags, tag]})


def _is_current(plugin: Plugin, entity: Entity, lenient: bool) -> bool:
    tags = _config_tags(entity)
    if lenient and not tags:
        return not diff(entity, {"config": _config(plugin)})
    return tags == [_config_tag(plugin, entity)]


def _config(plugin: Plugin) -> Mapping[str, Any]:
    config = plugin.fields.get("config")
    return config if isinstance(config, Mapping) else {}


def _config_tag(plugin: Plugin, entity: Entity) -> str:
    both = json.dumps([_config(plugin), entity.get("config")], sort_keys=True, default=str)
    return f"{CONFIG_TAG_PREFIX}{sha256(both.encode()).hexdigest()[:16]}"


def _config_tags(entity: Entity) -> list[str]:
    return [str(tag) for tag in entity.get("tags") or () if str(tag).startswith(CONFIG_TAG_PREFIX)]


def _config_difference(found: Mapping[str, Any], declared: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what the gateway has beside the declaration, or instead of it; and what is declared instead."""
    differing = {
        name: value
        for name, value in found.items()
        if value is not None and (name not in declared or diff({name: value}, {name: declared[name]}))
    }
    after = {name: value for name, value in declared.items() if diff(found, {name: value})}
    return differing, after or "only what is declared"
