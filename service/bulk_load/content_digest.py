"""Identifies a CSV file by its content, in whichever form an editor saved it."""

import hashlib

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE_FEED, _CARRIAGE_RETURN = b"\n", b"\r\n"


class ContentDigest:
    """SHA-256 of a file's text with plain line feeds, without a byte order mark, and with a last line end.

    Release 1.0.0 recorded the SHA-256 of the bytes as they were. `recorded_forms` are therefore also computed: the
    digests of the bytes, and of the same text with and without a byte order mark, with either line end, and with and
    without a last line end.
    """

    def __init__(self) -> None:
        self._bytes = hashlib.sha256()
        self._texts = {
            (mark, end): hashlib.sha256(mark)
            for mark in (b"", BYTE_ORDER_MARK)
            for end in (_LINE_FEED, _CARRIAGE_RETURN)
        }
        self._begun = False  # the end of the latest line is hashed with the next one

    def update(self, lines: bytes) -> None:
        """Add whole lines; only the last line of the file may lack its line end."""
        self._bytes.update(lines)
        if not self._begun:
            lines = lines.removeprefix(BYTE_ORDER_MARK)
        text = lines.replace(_CARRIAGE_RETURN, _LINE_FEED).removesuffix(_LINE_FEED)
        other = text.replace(_LINE_FEED, _CARRIAGE_RETURN)
        for (_, end), digest in self._texts.items():
            if self._begun:
                digest.update(end)
            digest.update(text if end == _LINE_FEED else other)
        self._begun = True

    def digest(self) -> bytes:
        """Return the digest of the content."""
        return self._with_last_line_end()[0]

    def recorded_forms(self) -> list[bytes]:
        """Return each digest under which the content may have been recorded."""
        texts = [digest.digest() for digest in self._texts.values()]
        return [self._bytes.digest(), *texts, *self._with_last_line_end()]

    def _with_last_line_end(self) -> list[bytes]:
        digests = []
        for (_, end), digest in self._texts.items():
            ended = digest.copy()
            ended.update(end if self._begun else b"")
            digests.append(ended.digest())
        return digests
