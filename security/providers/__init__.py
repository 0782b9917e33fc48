"""Providers of a security chain."""
