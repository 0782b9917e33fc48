"""Compares declared entities with those of a gateway."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.gateway.definition import UNIQUE_TAG_PREFIXES
from service.gateway.masking import masked

SHOWN_ENTRIES = 12  # of a list; the health checks declare hundreds of statuses


@dataclass(frozen=True)
class Change:
    """A change of one entity. `str()` shows it as a diff without secrets.

    Attributes:
        action: `create`, `change` or `remove`.
        what: Kind and name of the entity, such as "service loaner".
        fields: The fields that differ, each as (value on the gateway, declared value). The first is None for an entity
            to create.
    """

    action: str
    what: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        sign = {"create": "+", "change": "~", "remove": "-"}[self.action]
        lines = [f"{sign} {self.what}"]
        for name, (before, after) in self.fields.items():
            shown = _shortened(masked(name, after))
            if self.action != "create":
                found = _shortened(masked(name, before))
                shown = f"{found} -> {shown}{' (hidden values differ)' if found == shown else ''}"
            lines.append(f"    {name}: {shown}")
        return "\n".join(lines)


def _shortened(value: Any) -> Any:
    """Return a value for people, with the ends of long lists."""
    if isinstance(value, list) and len(value) > SHOWN_ENTRIES:
        return f"{value[0]} to {value[-1]} ({len(value)} values)"
    if isinstance(value, Mapping):
        return {name: _shortened(inner) for name, inner in value.items()}
    return value


def created(what: str, declared: Mapping[str, Any]) -> Change:
    """Return the change that creates an entity."""
    return Change("create", what, {name: (None, value) for name, value in declared.items()})


def diff(found: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return the declared fields that differ, each as (value on the gateway, value after the change).

    Fields that are not declared are ignored, in nested objects too. Declared tags are added to the existing ones, and
    replace tags with the same prefix, of which an entity has at most one.
    """
    differing: dict[str, tuple[Any, Any]] = {}
    for name, value in declared.items():
        current = found.get(name)
        if name == "tags":
            tags = [str(tag) for tag in current] if isinstance(current, list) else []
            kept = [tag for tag in tags if tag in value or not tag.startswith(UNIQUE_TAG_PREFIXES)]
            merged = kept + [tag for tag in value if tag not in kept]
            if merged != tags:
                differing[name] = (current, merged)
        elif isinstance(value, Mapping) and isinstance(current, Mapping):
            inner = diff(current, value)
            if inner:
                differing[name] = ({key: pair[0] for key, pair in inner.items()}, {k: p[1] for k, p in inner.items()})
        elif current != value:
            differing[name] = (current, value)
    return differing


def patch_for(found: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of the PATCH that brings an entity to its declaration.

    Nested objects are merged with the existing ones, because a gateway may replace an object as a whole.
    """
    patch: dict[str, Any] = {}
    for name, (_, after) in diff(found, declared).items():
        current, value = found.get(name), declared[name]
        if isinstance(value, Mapping) and isinstance(current, Mapping):
            patch[name] = _merged(current, value)
        else:
            patch[name] = after
    return patch


def _merged(current: Any, value: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(current, Mapping):
        return {**current, **{key: _merged(current.get(key), inner) for key, inner in value.items()}}
    return value
