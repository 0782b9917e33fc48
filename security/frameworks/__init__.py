"""Adapters of the security chain to web frameworks."""
