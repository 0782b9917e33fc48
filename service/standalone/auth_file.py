"""The file `.auth`, which shells source and the settings are read from (python-dotenv)."""

import re
from pathlib import Path

from security.files import write_atomic
from service.errors import SettingsError

_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=-]+")
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ud800-\udfff]")
# Both readers replace a variable that is not set by its default, and do not expand the result. They treat other escapes
# of a dollar sign differently, and python-dotenv reads past a quotation mark that follows a backslash.
_DOLLAR, _NOTHING = "${_UNSET:-$}", "${_UNSET:-}"
_BACKTICK = "_BACKTICK='`'\n"


def write_auth_file(path: Path, **values: str) -> None:
    """Write variables so that shells and python-dotenv read the same values. Only the owner can read the file.

    Raises:
        SettingsError: If a value has control characters other than tabs and line feeds, or is not valid text.
    """
    for name, value in values.items():
        if _UNWRITABLE.search(value):
            raise SettingsError(f"{name}: {path} cannot contain its control characters")
    lines = "".join(f"export {name}={quote(value)}\n" for name, value in values.items())
    write_atomic(path, ((_BACKTICK if "${_BACKTICK}" in lines else "") + lines).encode(), 0o600)


def quote(value: str) -> str:
    """Return a value as an assignment in `.auth` contains it."""
    if _PLAIN.fullmatch(value):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("$", _DOLLAR).replace("`", "${_BACKTICK}")
    return f'"{escaped}{_NOTHING if value.endswith(chr(92)) else ""}"'
