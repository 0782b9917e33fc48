"""What a loan is, where it is stored, how it is served."""

__version__ = "0.1.0"
