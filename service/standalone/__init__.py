"""Standalone runs, which bring PostgreSQL, keys and sample data along."""
