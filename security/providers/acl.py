"""Access policies: which identities may perform which actions on which resources."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from security.auth import Auth
from security.context import SecurityContext
from security.errors import NotAuthenticated, PolicyError, SecurityException
from security.files import read_bounded
from security.messages import Request, Response
from security.strict_json import parse_json

# Methods without an action, such as TRACE and unknown ones, are denied by default.
ACTIONS = {
    **dict.fromkeys(("GET", "HEAD", "OPTIONS"), "api:read"),
    **dict.fromkeys(("POST", "PUT", "PATCH", "DELETE"), "api:write"),
}
SYSTEM = "system"  # the identity of Microkubes services among themselves; may do what no policy denies
_LISTS = ("resources", "actions", "subjects", "roles", "organizations", "namespaces")
_MEMBERS = {*_LISTS, "id", "description", "effect"}


def _to_pattern(text: str) -> re.Pattern[str]:
    """Compile a name of a policy. Text between < and > is a regular expression, the rest is literal."""
    pieces = re.split(r"<([^<>]*(?:<[^<>]*>[^<>]*)*)>", text)
    for number, piece in enumerate(pieces):
        if number % 2:
            re.compile(piece)  # each expression must be valid alone, or one could close a group of the next
        elif "<" in piece or ">" in piece:
            raise re.error("unbalanced < or >")
    return re.compile(
        "".join(f"(?:{piece})" if number % 2 else re.escape(piece) for number, piece in enumerate(pieces))
    )


@dataclass(frozen=True)
class Policy:
    """An access policy. A request matches if it matches every list; an empty list matches any value.

    Args:
        id: The unique name of the policy.
        allow: Whether the policy allows the requests that it matches, or denies them.
        patterns: The patterns of each list, by its name.
    """

    id: str
    allow: bool
    patterns: Mapping[str, tuple[re.Pattern[str], ...]]

    @classmethod
    def parse(cls, members: Any, position: int) -> "Policy":
        """Return the policy of a JSON object.

        Args:
            members: The decoded JSON value.
            position: The index of the policy in its list, for error messages.

        Raises:
            PolicyError: If it is invalid, naming the policy and the member.
        """
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
                patterns[field] = tuple(_to_pattern(value) for value in values)
            except re.error as err:
                raise PolicyError(name, field, f"has an invalid regular expression: {err}") from err
        return cls(name, members.get("effect", "allow") == "allow", patterns)

    def matches(self, facts: Mapping[str, Sequence[str]]) -> bool:
        """Return whether a request matches every list of the policy.

        Args:
            facts: The values of the request for each list, by its name.
        """
        return all(
            not patterns or any(pattern.fullmatch(fact) for pattern in patterns for fact in facts[field])
            for field, patterns in self.patterns.items()
        )


class ACLProvider:
    """Rejects an authenticated request with 403 unless a policy allows it and none denies it.

    Args:
        config: `{"policies": [...]}`, the list itself, or the path of a JSON file with either.

    Raises:
        PolicyError: If a policy is invalid or the file cannot be read.
    """

    def __init__(self, config: Mapping[str, Any] | Sequence[Any] | str | PathLike[str]) -> None:
        if isinstance(config, str | PathLike):
            config = _read_file(Path(config))
        policies = config.get("policies") if isinstance(config, Mapping) else config
        if not isinstance(policies, list | tuple):
            raise PolicyError("file", "policies", "expected a list of policies")
        self.policies = tuple(Policy.parse(members, position) for position, members in enumerate(policies))
        names = [policy.id for policy in self.policies]
        for name in sorted({name for name in names if names.count(name) > 1}):
            raise PolicyError(name, "id", "is not unique")

    def __call__(self, context: SecurityContext, req: Request, resp: Response) -> None:
        """Check the request against the policies.

        Raises:
            NotAuthenticated: If no identity is set.
            SecurityException: With status 403, if the request is not allowed.
        """
        auth = context.get_auth()
        if auth is None:
            raise NotAuthenticated()
        if not self._allows(auth, req.path or "", (req.method or "").upper()):
            raise SecurityException("this identity is not allowed to do this", 403)

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
    # The role matters too: a user or a client may happen to be named "system".
    return auth.user_id == auth.username == SYSTEM and SYSTEM in (auth.roles or ())


def _read_file(path: Path) -> Any:
    try:
        return parse_json(read_bounded(path))
    except OSError as err:
        raise PolicyError("file", str(path), f"cannot be read: {err.strerror}") from err
    except ValueError as err:
        raise PolicyError("file", str(path), f"is not JSON: {err}") from err
