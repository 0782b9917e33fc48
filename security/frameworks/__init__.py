"""The chain in Flask, and in any WSGI application."""
