"""Access policies: who may do what to which resource."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from security.auth import Auth
from security.context import SecurityContext
from security.errors import NotAuthenticated, PolicyError, SecurityException
from security.messages import Request, Response

# What a request does, in Microkubes' words. TRACE and unknown methods have no action, so no policy allows them.
ACTIONS = {
    **dict.fromkeys(("GET", "HEAD", "OPTIONS"), "api:read"),
    **dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "api:write"),
}
SYSTEM = "system"  # Microkubes' services among themselves: may do everything that no policy denies
_LISTS = ("resources", "actions", "subjects", "roles", "organizations", "namespaces")
_MEMBERS = {*_LISTS, "id", "description", "effect"}


def _pattern(text: str) -> re.Pattern[str]:
    """A name that must match as a whole; what stands between < and > is a regular expression."""
    pieces = re.split(r"<([^<>]*(?:<[^<>]*>[^<>]*)*)>", text)
    for number, piece in enumerate(pieces):
        if number % 2:
            re.compile(piece)  # by itself: brackets that only close a neighbour's are a mistake
        elif "<" in piece or ">" in piece:
            raise re.error("a < or > stands alone")
    return re.compile(
        "".join(f"(?:{piece})" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces))
    )


@dataclass(frozen=True)
class Policy:
    """One rule. A request satisfies it by itself or not at all: resource, action, subject, role, organization and
    namespace together. An empty list means any."""

    id: str
    allow: bool
    patterns: Mapping[str, tuple[re.Pattern[str], ...]]

    @classmethod
    def read(cls, members: Any, position: int) -> "Policy":
        """A policy from its JSON object. Raises: PolicyError naming the policy and the member."""
        name = f"number {position + 1}"
        if not isinstance(members, Mapping):
            raise PolicyError(name, "policy", "expected an object")
        if not isinstance(members.get("id"), str) or not members["id"]:
            raise PolicyError(name, "id", "expected a name")
        name = members["id"]
        for unknown in sorted(set(members) - _MEMBERS):
            raise PolicyError(name, unknown, f"is not one of {', '.join(sorted(_MEMBERS))}")
        if members.get("effect", "allow") not in ("allow", "deny"):
            raise PolicyError(name, "effect", "expected allow or deny")
        patterns = {}
        for field in _LISTS:
            values = members.get(field, [])
            if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
                raise PolicyError(name, field, "expected a list of strings")
            try:
                patterns[field] = tuple(_pattern(value) for value in values)
            except re.error as err:
                raise PolicyError(name, field, f"has a regular expression that cannot be read: {err}") from err
        return cls(name, members.get("effect", "allow") == "allow", patterns)

    def matches(self, facts: Mapping[str, Sequence[str]]) -> bool:
        """Whether a request of these facts satisfies every part of the policy."""
        return all(
            not patterns or any(pattern.fullmatch(fact) for pattern in patterns for fact in facts[field])
            for field, patterns in self.patterns.items()
        )


class ACLProvider:
    """Refuses an authenticated request with 403 unless a policy allows it and none denies it.

    config: {"policies": [...]}, the list itself, or the path of a JSON file that holds either.

    Raises: PolicyError for policies that cannot be used.
    """

    def __init__(self, config: Mapping[str, Any] | Sequence[Any] | str | PathLike[str]) -> None:
        if isinstance(config, str | PathLike):
            config = _read_file(Path(config))
        policies = config.get("policies") if isinstance(config, Mapping) else config
        if not isinstance(policies, list | tuple):
            raise PolicyError("file", "policies", "expected a list of policies")
        self.policies = tuple(Policy.read(members, position) for position, members in enumerate(policies))
        names = [policy.id for policy in self.policies]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise PolicyError(name, "id", "is used twice")

    def __call__(self, context: SecurityContext, req: Request, resp: Response) -> None:
        auth = context.get_auth()
        if auth is None:
            raise NotAuthenticated()
        if not self._allows(auth, req.path or "", (req.method or "").upper()):
            raise SecurityException("this identity may not do that here", 403)

    def _allows(self, auth: Auth, path: str, method: str) -> bool:
        action = ACTIONS.get(method)
        facts = {
            "resources": [path],
            "actions": [] if action is None else [action],
            "subjects": [auth.username],
            "roles": list(auth.roles or ()),
            "organizations": list(auth.organizations or ()),
            "namespaces": list(auth.namespaces or ()),
        }
        effects = {policy.allow for policy in self.policies if policy.matches(facts)}
        return action is not None and False not in effects and (True in effects or _is_system(auth))


def _is_system(auth: Auth) -> bool:
    # as Microkubes' services sign themselves; a user or a client that is merely called so lacks the role
    return auth.user_id == auth.username == SYSTEM and SYSTEM in (auth.roles or ())


def _read_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise PolicyError("file", str(path), f"cannot be read: {err.strerror}") from err
    except (ValueError, RecursionError) as err:
        raise PolicyError("file", str(path), f"is not JSON: {err}") from err
