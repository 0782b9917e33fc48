"""What a loan is, where it is stored, how it is served."""

__version__ = "1.0.0"
