"""The difference between what is declared and what a gateway has."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from service.gateway.definition import DECLARATION_TAG_PREFIX


@dataclass(frozen=True)
class Change:
    """One difference. what: the entity, such as "service loaner". fields: for each one that differs what the gateway
    has (None for an entity that is to be made) and what is declared (None for one that is to be removed).
    """

    action: str  # create, change or remove
    what: str
    fields: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)

    def __str__(self) -> str:
        sign = {"create": "+", "change": "~", "remove": "-"}[self.action]
        lines = [f"{sign} {self.what}"]
        for name, (before, after) in self.fields.items():
            before, after = _shown(before), _shown(after)
            lines.append(f"    {name}: {after}" if self.action == "create" else f"    {name}: {before} -> {after}")
        return "\n".join(lines)


def _shown(value: Any) -> Any:
    """A value as it may be shown: plugins are configured with passwords and the like."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: "***" if inner and re.search("secret|passw|token|key$|credential", name, re.IGNORECASE) else _shown(inner)
        for name, inner in value.items()
    }


def created(what: str, declared: Mapping[str, Any]) -> Change:
    """What making an entity changes."""
    return Change("create", what, {name: (None, value) for name, value in declared.items()})


def diff(found: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The declared fields that differ; those that are not declared are nobody's business here.

    Tags are added to those that are there. Of an object only the declared members count.
    """
    wrong: dict[str, tuple[Any, Any]] = {}
    for name, value in declared.items():
        has = found.get(name)
        if name == "tags":
            tags = [str(tag) for tag in has] if isinstance(has, list) else []
            # theirs stay, and so do ours, but for the mark of another declaration
            kept = [tag for tag in tags if tag in value or not tag.startswith(DECLARATION_TAG_PREFIX)]
            wanted = kept + [tag for tag in value if tag not in kept]
            if wanted != tags:
                wrong[name] = (has, wanted)
        elif isinstance(value, Mapping) and isinstance(has, Mapping):
            inner = diff(has, value)
            if inner:
                wrong[name] = ({key: pair[0] for key, pair in inner.items()}, {k: p[1] for k, p in inner.items()})
        elif has != value:
            wrong[name] = (has, value)
    return wrong


def patch_for(found: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """What to write so that nothing differs any more: the fields that do, objects whole, since a gateway may replace
    an object as a whole.
    """
    written: dict[str, Any] = {}
    for name, (_, after) in diff(found, declared).items():
        has, value = found.get(name), declared[name]
        if isinstance(value, Mapping) and isinstance(has, Mapping):
            written[name] = _deep(has, value)
        else:
            written[name] = after
    return written


def _deep(has: Any, value: Any) -> Any:
    if isinstance(value, Mapping) and isinstance(has, Mapping):
        return {**has, **{key: _deep(has.get(key), inner) for key, inner in value.items()}}
    return value
