"""Routes of other services on the gateway that match calls for this one.

Kong's names are unique, its paths are not. Source: recordings, and Kong's documentation of the traditional router: of
the routes that match a call, one with more criteria wins, then a regular expression, then a longer path, then the
older route.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.gateway.masking import masked

_CRITERIA = ("hosts", "methods", "headers", "snis", "sources", "destinations")
# Before 3.0 a path with any other character is a regular expression.
_PLAIN = re.compile(r"[A-Za-z0-9._~/%-]*")


@dataclass(frozen=True)
class Competitor:
    """A route of another service that matches calls for this one.

    Attributes:
        name: Name or id of the route.
        service: Name or id of its service.
        path: The path that overlaps.
        criteria: Further criteria that a call must meet, such as `hosts ['api.example']`; empty without any.
        takes_calls: Whether it takes calls from this service, whatever else they contain.
    """

    name: str
    service: str
    path: str
    criteria: str
    takes_calls: bool

    def __str__(self) -> str:
        outcome = (
            "takes calls for this service"
            if self.takes_calls
            else f"takes calls for this service with {self.criteria}"
            if self.criteria
            else "is newer, and takes calls if this service's route goes"
        )
        return f"the route {self.name} of the service {self.service} with the path {self.path} {outcome}"


def find_competitors(
    own_paths: Sequence[str],
    own_route: Mapping[str, Any] | None,
    routes: Iterable[Mapping[str, Any]],
    service_of: Callable[[Mapping[str, Any]], Mapping[str, Any]],
    *,
    tilde: bool,
) -> list[Competitor]:
    """Return the routes that match calls for this service.

    Args:
        own_paths: Paths of this service's route, in the gateway's notation.
        own_route: This service's route, if the gateway has it.
        routes: All routes of the gateway.
        service_of: Returns the service of a route; empty if it has none.
        tilde: Whether `~` marks regular expressions.
    """
    found = []
    created_at = (own_route or {}).get("created_at")
    for route in routes:
        if own_route is not None and route.get("id") == own_route.get("id"):
            continue
        is_older = not isinstance(created_at, int | float) or float(route.get("created_at") or 0) <= created_at
        overlapping = _overlap(own_paths, route, is_older, tilde)
        if overlapping is None:
            continue
        path, takes_calls = overlapping
        criteria = ", ".join(f"{name} {masked(name, route[name])}" for name in _CRITERIA if route.get(name))
        service = service_of(route)
        if service.get("enabled") is False:
            continue
        found.append(
            Competitor(
                str(route.get("name") or route.get("id")),
                str(service.get("name") or service.get("id") or "none"),
                path,
                criteria,
                takes_calls and not criteria,
            )
        )
    return found


def _overlap(
    own_paths: Sequence[str], route: Mapping[str, Any], is_older: bool, tilde: bool
) -> tuple[str, bool] | None:
    """Return the first path of a route that overlaps, and whether it precedes this service's paths; else None."""
    restricted = any(route.get(name) for name in _CRITERIA)
    expression = route.get("expression")
    if isinstance(expression, str):
        matching = next((own for own in own_paths if own in expression), None)
        return None if matching is None else ("of an expression", True)
    for path in map(str, route.get("paths") or ()):
        for own in own_paths:
            own_text = own.rstrip("/") or "/"
            if _is_regular(own, tilde):
                if path == own:
                    return path, is_older
            elif _is_regular(path, tilde):
                if _matches(path.removeprefix("~"), own_text):
                    return path, True
            elif path.rstrip("/") == own_text.rstrip("/"):
                return path, is_older
            elif path.startswith(own_text):
                return path, True
            elif restricted and own_text.startswith(path) and path != "/":
                return path, False  # shorter, but a route with more criteria precedes
    return None


def _is_regular(path: str, tilde: bool) -> bool:
    return path.startswith("~") if tilde else not _PLAIN.fullmatch(path)


def _matches(expression: str, own: str) -> bool:
    """Return whether a regular expression matches this service's path, or calls below it. If in doubt, it does."""
    try:
        compiled = re.compile(expression)
    except (re.error, RecursionError, OverflowError):
        return True
    return any(compiled.match(own + rest) for rest in ("", "/", "/healthcheck", "/token", "/1/2020-01-01"))
