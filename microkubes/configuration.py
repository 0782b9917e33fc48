"""Configuration files of Microkubes services."""

import json
from os import PathLike
from pathlib import Path
from typing import Any

from security.files import read_bounded

__all__ = ["read_config"]


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
