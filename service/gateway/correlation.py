"""The header in which the gateway sends the id of a request, as the declared plugins say."""

from collections.abc import Sequence

from service.gateway.definition import Plugin

PLUGIN = "correlation-id"
DEFAULT_HEADER = "Kong-Request-ID"  # of the plugin


def correlation_header(plugins: Sequence[Plugin] | None) -> str | None:
    """Return the header that the plugin `correlation-id` is declared to write, or None if it is not declared."""
    for plugin in plugins or ():
        if plugin.name == PLUGIN and plugin.fields.get("enabled", True):
            header = (plugin.fields.get("config") or {}).get("header_name")
            return header if isinstance(header, str) and header.isascii() else DEFAULT_HEADER
    return None
