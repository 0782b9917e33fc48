"""Fields that operators may set on the gateway. They do not decide which calls arrive here, so they are kept.

Documented in docs/guides/gateway.md. All other fields that decide whether a call matches are compared and repaired.
"""

from collections.abc import Mapping
from typing import Any

# The defaults of Kong, in all versions that have the field.
SERVICE_FIELDS: Mapping[str, tuple[Any, ...]] = {
    "retries": (5,),
    "connect_timeout": (60_000,),
    "read_timeout": (60_000,),
    "write_timeout": (60_000,),
    "tls_verify": (None,),
    "tls_verify_depth": (None,),
    "ca_certificates": (None,),
    "client_certificate": (None,),
}
ROUTE_FIELDS: Mapping[str, tuple[Any, ...]] = {
    "regex_priority": (0,),
    "path_handling": ("v0", "v1"),
    "https_redirect_status_code": (426,),
    "request_buffering": (True,),
    "response_buffering": (True,),
}


def describe_kept(what: str, entity: Mapping[str, Any], fields: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """Return the fields that operators have set, each as `service loaner: retries 0`."""
    return [
        f"{what}: {name} {entity[name]}"
        for name, defaults in fields.items()
        if name in entity and entity[name] not in defaults
    ]
