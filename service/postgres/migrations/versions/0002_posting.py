"""Adds idempotent posting over HTTP."""

from service.postgres.migrations.sql_file import run_sql_beside

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Apply the revision."""
    run_sql_beside(__file__)
