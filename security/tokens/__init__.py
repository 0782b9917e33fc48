"""Parsing and verification of tokens."""
