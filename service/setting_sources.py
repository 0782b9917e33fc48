"""Reads unvalidated values of settings from where they may be given, and reports where each comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, SecretsSettingsSource

from service.errors import SettingsError

ENVIRONMENT = "environment"
Model = type[BaseSettings]


@dataclass(frozen=True)
class Source:
    """One place where settings are given.

    Attributes:
        label: The place, for messages.
        values: What is given for settings, by name in lower case.
        names: Every name that the place has, in upper case, including names of other programs.
    """

    label: str
    values: Mapping[str, Any]
    names: frozenset[str]


def read_sources(model: Model, env_files: tuple[Path, ...], secrets: Path) -> list[Source]:
    """Read every source: environment, env files and mounted secrets.

    Args:
        model: Has a field for each setting.
        env_files: Files of variables; those that do not exist are skipped.
        secrets: A folder with a file per setting. It may be missing.

    Returns:
        The sources. The first that has a setting counts.

    Raises:
        SettingsError: If a file cannot be read. The message names it.
    """
    try:
        return list(_read(model, env_files, secrets))
    except OSError as err:
        raise SettingsError(f"{err.filename} cannot be read: {err.strerror}") from None


def _read(model: Model, env_files: tuple[Path, ...], secrets: Path) -> Iterator[Source]:
    environment = EnvSettingsSource(model)
    yield Source(ENVIRONMENT, environment(), _upper(environment.env_vars))
    for file in env_files:
        try:
            variables = DotEnvSettingsSource(model, file)
            yield Source(str(file), _known(model, variables()), _upper(variables.env_vars))
        except UnicodeDecodeError as err:
            raise SettingsError(f"{file} cannot be read: {err}") from None
    if secrets.is_dir():
        try:
            values = SecretsSettingsSource(model, secrets)()
        except UnicodeDecodeError as err:
            raise SettingsError(f"a file in {secrets} cannot be read: {err}") from None
        yield Source(str(secrets), values, _upper(path.name for path in secrets.iterdir() if path.is_file()))


def _known(model: Model, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in model.model_fields}


def _upper(names: Any) -> frozenset[str]:
    return frozenset(name.upper() for name in names)
