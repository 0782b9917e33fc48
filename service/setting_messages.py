"""Describes, in the service's words, which values a setting accepts."""

from collections.abc import Mapping
from typing import Any


def expectation(schema: Mapping[str, Any]) -> str:
    """Return what a setting expects, such as "expected a whole number from 1 to 65535".

    Args:
        schema: The JSON schema of the setting.
    """
    schema = next((each for each in schema.get("anyOf", ()) if each["type"] != "null"), schema)
    if "enum" in schema:
        *words, last = schema["enum"]
        return f"expected {', '.join(words)} or {last}"
    if schema["type"] == "boolean":
        return "expected true or false"
    if schema["type"] == "string":
        return "expected text that is not empty" if schema.get("minLength") else "expected text"
    noun = {"integer": "a whole number", "number": "a number"}[schema["type"]]
    return f"expected {noun}{_range(schema)}"


def _range(schema: Mapping[str, Any]) -> str:
    """Describe the bounds of a number."""
    above, least, most = (schema.get(name) for name in ("exclusiveMinimum", "minimum", "maximum"))
    if least is not None and most is not None:
        return f" from {_number(least)} to {_number(most)}"
    parts = [f" above {_number(above)}"] if above is not None else []
    parts += [f" of at least {_number(least)}"] if least is not None else []
    parts += [f"{' and' if parts else ''} up to {_number(most)}"] if most is not None else []
    return "".join(parts)


def _number(value: float) -> str:
    return f"{value:.15g}"
