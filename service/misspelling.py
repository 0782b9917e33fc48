"""Recognizes names that are probably misspelt, without mistaking names of other programs for them."""

from collections.abc import Collection

_UNITS = ("_S", "_BYTES")
# Words of other programs, by the one that settings have.
_OTHER_WORDS = {
    "ADDRESS": "ADDR",
    "DATABASE": "DB",
    "DBNAME": "DB",
    "PASS": "PW",
    "PASSWD": "PW",
    "PASSWORD": "PW",
    "PROXY": "PROXIES",
    "USERNAME": "USER",
}
_SHORT = 4  # up to this length another letter makes another word, such as POST for PORT, and PAGER for PAGE
_LONG = 16  # from this length a name may differ in two places


def closest(name: str, known: Collection[str]) -> str | None:
    """Return the known name that was probably meant, or None.

    The first letter counts: few people mistype it, and it distinguishes MYSQL_HOST from PSQL_HOST.

    Args:
        name: A name that is not known, in upper case.
        known: The known names, in upper case.
    """
    if name in known:
        return None
    for unit in _UNITS:
        if f"{name}{unit}" in known:
            return f"{name}{unit}"
    translated = "_".join(_OTHER_WORDS.get(word, word) for word in name.split("_"))
    if translated in known:
        return translated
    near = [(distance(name, each), each) for each in known if each[0] == name[:1] and abs(len(each) - len(name)) <= 2]
    likely = [(edits, each) for edits, each in near if edits <= (2 if len(each) >= _LONG else 1)]
    likely = [(edits, each) for edits, each in likely if len(each) > _SHORT or not _has_another_letter(name, each)]
    return min(likely)[1] if likely else None


def _has_another_letter(name: str, known: str) -> bool:
    if len(name) == len(known):
        return sorted(name) != sorted(known)
    return not set(name) <= set(known)


def distance(first: str, second: str) -> int:
    """Return how many letters are added, left out, replaced or swapped with their neighbor between two words."""
    before_last: list[int] = []
    last = list(range(len(second) + 1))
    for row, letter in enumerate(first, start=1):
        current = [row]
        for column, other in enumerate(second, start=1):
            edits = min(last[column] + 1, current[-1] + 1, last[column - 1] + (letter != other))
            if row > 1 and column > 1 and letter == second[column - 2] and first[row - 2] == other:
                edits = min(edits, before_last[column - 2] + 1)
            current.append(edits)
        before_last, last = last, current
    return last[-1]
