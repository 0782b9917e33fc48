"""Client credentials in HTTP Basic (RFC 6749, section 2.3.1).

The id and the secret are form-encoded before they are joined. Many clients and servers skip that step, which makes no
difference unless one of them contains other characters than letters, digits and `-._`.
"""

import re
from urllib.parse import quote_plus, unquote_plus

# What encoders of forms and URIs write. Other text, such as a lone %, was not encoded.
_ENCODED = re.compile(r"(?:[A-Za-z0-9!'()*._~+-]|%[0-9A-Fa-f]{2})*")


def encode(text: str) -> str:
    """Return the form-encoding of an id or a secret."""
    return quote_plus(text)


def readings(text: str) -> list[str]:
    """Return what a received id or secret may mean: the decoded text first, and the text as it is.

    Both are the same, and returned once, unless the text contains an escape or a plus sign. Text that no encoder writes
    was sent as it is.
    """
    if not _ENCODED.fullmatch(text):
        return [text]
    try:
        return list(dict.fromkeys((unquote_plus(text, errors="strict"), text)))
    except UnicodeDecodeError:
        return [text]
