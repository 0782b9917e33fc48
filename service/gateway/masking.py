"""Hides secrets of the gateway's entities in messages, in diffs and in the log.

Any field of a plugin may hold a secret, and custom plugins are unknown here. So a text is shown only if its field
is known to hold none. Booleans are shown, and so are numbers, except below a name that suggests a secret.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

MASK = "***"
MIN_SECRET_CHARS = 4  # shorter texts occur in every message

# fmt: off
_PLAIN = frozenset((
    # of services, routes, upstreams, targets and APIs
    "algorithm", "destinations", "hash_fallback", "hash_on", "host", "hosts", "http_path", "methods",
    "name", "path", "path_handling", "paths", "protocol", "protocols", "snis", "sources", "tags", "target", "type",
    "upstream_url", "uris", "active", "healthchecks", "healthy", "passive", "unhealthy",
    # of plugins that Kong ships
    "config", "redis", "allow", "claims_to_verify", "content_type", "cookie_name", "cookie_names", "deny",
    "error_message", "facility", "generator", "header_name", "header_names", "header_type", "http_method",
    "key_claim_name", "key_names", "limit_by", "limits", "method", "origins", "policy", "port", "realm",
    "request_method", "size_unit", "strategy", "uri_param_names", "vary_headers", "redis_host", "redis_server_name",
    "server_name",
))
# fmt: on
_SUGGESTS_SECRET = re.compile(
    "auth|body|cert|cookie|credential|header|key|passw|passphrase|pin|private|pwd|query|salt|secret|sign|token", re.I
)
_USERINFO = re.compile(r"//[^/?#\s]*@")
_VAULT_REFERENCE = re.compile(r"\{vault://[^{}\s]+\}")  # names a secret that Kong reads


def masked(name: str, value: Any) -> Any:
    """Return the value of an entity's field without its secrets.

    Args:
        name: Name of the field, such as `config`.
        value: Its value, as in JSON.
    """
    return _masked(value, name in _PLAIN, _is_opaque(name))


def without_userinfo(text: str) -> str:
    """Return a text without the user names and passwords of the URLs in it."""
    return _USERINFO.sub(f"//{MASK}@", text)


def without_secrets_of(entity: Mapping[str, Any] | None, reply: Any) -> Any:
    """Return a gateway's reply without the secrets of the entity that it is about.

    An error may quote the value that it rejects.

    Args:
        entity: The entity that was sent.
        reply: The reply, as in JSON.
    """
    hidden = {text for name, value in (entity or {}).items() for text in _hidden(value, masked(name, value))}
    secrets = sorted((text for text in hidden if len(text) >= MIN_SECRET_CHARS), key=len, reverse=True)
    return _replaced(reply, re.compile("|".join(map(re.escape, secrets)))) if secrets else reply


def _is_opaque(name: object) -> bool:
    return name not in _PLAIN and _SUGGESTS_SECRET.search(str(name)) is not None


def _masked(value: Any, is_plain: bool, is_opaque: bool) -> Any:
    if value is None or isinstance(value, bool) or value in ("", [], {}):
        return value
    if isinstance(value, str):
        if is_plain:
            return without_userinfo(value)
        return value if _VAULT_REFERENCE.fullmatch(value) else MASK
    if is_opaque:
        return MASK
    if isinstance(value, Mapping):
        return {name: _masked(inner, is_plain and name in _PLAIN, _is_opaque(name)) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(inner, is_plain, is_opaque) for inner in value]
    return value


def _hidden(value: Any, shown: Any) -> Iterator[str]:
    """Yield the texts in a value that are not shown."""
    if isinstance(value, Mapping):
        if shown == MASK:
            yield from map(str, value)
        for name, inner in value.items():
            yield from _hidden(inner, shown[name] if isinstance(shown, Mapping) else MASK)
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _hidden(inner, shown[position] if isinstance(shown, list) else MASK)
    elif shown != value and not isinstance(value, bool) and value is not None:
        yield str(value)


def _replaced(value: Any, secrets: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return secrets.sub(MASK, value)
    if isinstance(value, Mapping):
        return {_replaced(name, secrets): _replaced(inner, secrets) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, secrets) for inner in value]
    return value
