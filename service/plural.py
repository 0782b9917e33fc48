"""Numbers of things, in messages for people."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, such as "1 event" or "2 events".

    Args:
        number: The number.
        noun: The noun in the singular; its plural ends in s.
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
