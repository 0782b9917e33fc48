"""Formats URLs and addresses."""

from urllib.parse import urlsplit


def without_password(url: str) -> str:
    """Return a URL without its user name and password, for messages and logs.

    Raises:
        ValueError: If `url` is malformed.
    """
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def with_port(host: str, port: int) -> str:
    """Return `host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
