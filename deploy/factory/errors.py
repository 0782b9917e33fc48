"""What can go wrong on the way to a host."""


class FactoryError(Exception):
    """A step failed. The message says which, why, and what to do."""
