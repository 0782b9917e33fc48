"""Connecting to Postgres, pooling, migrations."""
