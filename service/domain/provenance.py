"""Who changed the ledger and why: parsers for command lines, and the form in which identities are stored."""

import unicodedata

MAX_REASON_CHARS = 1000
MAX_NAME_CHARS = 100
# Categories of Unicode: control characters, surrogates, separators of lines and paragraphs.
_CONTROL = ("Cc", "Cs", "Zl", "Zp")


def has_control_characters(text: str) -> bool:
    """Return whether a text has control characters or line breaks, in any of their forms."""
    return any(unicodedata.category(character) in _CONTROL for character in text)


def parse_reason(text: str) -> str:
    """Return a valid reason for closing a period unchanged."""
    return _parse(text, MAX_REASON_CHARS)


def parse_name(text: str) -> str:
    """Return a valid name of a person unchanged."""
    return _parse(text, MAX_NAME_CHARS)


def _parse(text: str, most: int) -> str:
    if not text.strip() or len(text) > most or has_control_characters(text):
        raise ValueError(f"expected 1 to {most} characters, without control characters such as line breaks")
    return text


def to_printable(identity: str) -> str:
    """Return an identity with every character escaped that is not printable: Postgres does not store all of them."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in identity) or "(empty)"
