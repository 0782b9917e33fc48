"""Connections to Postgres: host selection, pooling and migrations."""
