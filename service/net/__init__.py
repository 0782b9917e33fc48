"""Hosts, URLs, and HTTP sessions for servers of the same platform."""
