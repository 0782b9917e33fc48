"""Strict parsing of JSON (RFC 8259): what parsers read differently, or what only some accept, is an error."""

import json
from typing import Any, NoReturn


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    Duplicate member names, NaN, Infinity and unpaired surrogates (RFC 7493, section 2) are errors.

    Args:
        text: The text; bytes must be UTF-8.

    Raises:
        ValueError: If the text is not JSON. The message contains no part of it.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    try:
        value = json.loads(text, object_pairs_hook=reject_duplicate_names, parse_constant=_reject_constant)
        if "\\u" in text:  # only an escape can be an unpaired surrogate
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError as err:
        raise ValueError("too many nested values") from err
    except UnicodeEncodeError:
        raise ValueError("unpaired surrogate") from None
    return value


def reject_duplicate_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object, for `json.loads(object_pairs_hook=)`.

    Raises:
        ValueError: If two members have the same name.
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member name")
    return members


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
