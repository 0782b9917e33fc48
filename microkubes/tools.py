"""Helpers for Microkubes services: health check, version endpoint, configuration."""

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from flask import Flask

from security.files import read_bounded

__all__ = ["add_healthcheck", "add_version_endpoint", "read_config"]


def add_healthcheck(app: Flask) -> None:
    """Add the endpoint `/healthcheck`, which returns 200 while the process serves requests."""
    app.add_url_rule("/healthcheck", "healthcheck", lambda: {"status": "ok"})


def add_version_endpoint(app: Flask, config: Mapping[str, Any]) -> None:
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


def read_config(config_path: str | PathLike[str]) -> dict[str, Any]:
    """Return the configuration in a JSON file.

    Raises:
        ValueError: If the file cannot be read or does not contain a JSON object, naming the file.
    """
    try:
        config = json.loads(read_bounded(Path(config_path)).decode("utf-8"))
    except OSError as err:
        raise ValueError(f"{config_path} cannot be read: {err.strerror}") from err
    except (ValueError, RecursionError) as err:
        raise ValueError(f"{config_path} is not JSON: {err}") from err
    if not isinstance(config, dict):
        raise ValueError(f"{config_path} does not contain a JSON object")
    return config
