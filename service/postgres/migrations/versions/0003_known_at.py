"""Adds recording times, for queries with `known_at`."""

from service.postgres.migrations.sql_file import run_sql_beside

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Apply the revision."""
    run_sql_beside(__file__)
