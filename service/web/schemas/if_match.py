"""The header If-Match of a posting: the versions that the loan may have (RFC 9110, section 13.1.1)."""

import re
from dataclasses import dataclass

from service.domain.parsing import MAX_LOAN_ID

MAX_IF_MATCH_CHARS = 2000
IF_MATCH_SCHEMA = {
    "type": "string",
    "maxLength": MAX_IF_MATCH_CHARS,
    "pattern": r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$',
}
_TAG = r'(?:W/)?"[\x21\x23-\x7E\x80-\xFF]*"'
_LIST = re.compile(rf"[ \t]*(?:,[ \t]*)*{_TAG}(?:[ \t]*,(?:[ \t]*{_TAG})?)*[ \t]*")
_VERSION = re.compile(r'"(0|[1-9][0-9]{0,18})-[0-9a-f]{24}"')


@dataclass(frozen=True)
class IfMatch:
    """The versions that a loan may have.

    Attributes:
        versions: These versions, in ascending order; None means any version of an existing loan.
    """

    versions: tuple[int, ...] | None


def parse_if_match(text: str) -> IfMatch:
    """Parse the header's value: `*`, or a list of entity tags.

    The comparison is strong, so weak tags match no version, and neither do tags without one.

    Raises:
        ValueError: If it is neither.
    """
    if text.strip(" \t") == "*":
        return IfMatch(None)
    if len(text) > MAX_IF_MATCH_CHARS or not _LIST.fullmatch(text):
        raise ValueError("expected * or a list of entity tags, such as the ETag of a loan's reply")
    matches = (_VERSION.fullmatch(tag) for tag in re.findall(_TAG, text))
    versions = {int(match[1]) for match in matches if match is not None}
    return IfMatch(tuple(sorted(version for version in versions if version <= MAX_LOAN_ID)))
