"""WSGI middleware."""
