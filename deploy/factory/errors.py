"""Exceptions of the factory."""


class FactoryError(Exception):
    """A deployment step failed. The message names the step and the cause, and says what to do."""
