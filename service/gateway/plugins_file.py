"""Reads the file of plugins that the gateway runs for the service, in YAML or JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from security.files import read_bounded
from service.gateway.definition import Plugin
from service.gateway.registrator import RegistrationException


class _Plugin(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    enabled: bool = True
    config: dict[str, JsonValue] = Field(default_factory=dict)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    plugins: list[_Plugin]


def read_plugins(path: Path) -> Sequence[Plugin]:
    """Return the plugins that a file declares.

    Raises:
        RegistrationException: If the file is unreadable or invalid. The message names the file and the error.
    """
    try:
        document = yaml.safe_load(read_bounded(path))
    except OSError as err:
        raise RegistrationException(f"{path} cannot be read: {err.strerror}") from err
    except (yaml.YAMLError, RecursionError, ValueError) as err:
        mark = getattr(err, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise RegistrationException(f"{path} is neither YAML nor JSON{where}") from err
    try:
        declared = _File.model_validate(document).plugins
    except ValidationError as err:
        errors = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'file'}: {e['msg']}" for e in err.errors())
        raise RegistrationException(f"{path}: {errors}") from None
    names = [plugin.name for plugin in declared]
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise RegistrationException(f"{path}: {', '.join(duplicates)} is declared twice")
    return [Plugin(plugin.name, {"enabled": plugin.enabled, "config": plugin.config}) for plugin in declared]
