"""Strict parsing of JSON objects (RFC 8259): a duplicate name, which parsers resolve differently, is an error."""

from typing import Any


def reject_duplicate_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object, for `json.loads(object_pairs_hook=)`.

    Raises:
        ValueError: If two members have the same name.
    """
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("duplicate member name")
    return members
