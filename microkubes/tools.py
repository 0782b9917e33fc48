"""Helpers for Microkubes services: health check, version endpoint, configuration."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from microkubes.configuration import read_config

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["add_healthcheck", "add_version_endpoint", "read_config"]


def add_healthcheck(app: "Flask") -> None:
    """Add the endpoint `/healthcheck`, which returns 200 while the process serves requests."""
    app.add_url_rule("/healthcheck", "healthcheck", lambda: {"status": "ok"})


def add_version_endpoint(app: "Flask", config: Mapping[str, Any]) -> None:
    """Add the endpoint `/version`, which returns `{"version": ...}`.

    Args:
        app: The application.
        config: The configuration, with the member `version`.

    Raises:
        ValueError: If the configuration has no version.
    """
    if config.get("version") is None:
        raise ValueError("the configuration has no version")
    version = config["version"]
    app.add_url_rule("/version", "version", lambda: {"version": version})
