"""Indexes for finding loans by their terms, and the transaction that created each loan."""

from service.postgres.migrations.sql_file import run_sql_beside

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Apply the revision."""
    run_sql_beside(__file__)
