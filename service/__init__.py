"""Loaner: exact balances of loans on any date."""

__version__ = "1.0.0"
