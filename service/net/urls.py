"""Addresses as they are written and shown."""

from urllib.parse import urlsplit


def without_password(url: str) -> str:
    """A URL as it may be shown: without what stands before an @."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def with_port(host: str, port: int) -> str:
    """host:port, with brackets around an address of IPv6."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
