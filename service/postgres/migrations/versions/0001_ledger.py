"""Creates the ledger: loans and events."""

from service.postgres.migrations.sql_file import run_sql_beside

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Apply the revision."""
    run_sql_beside(__file__)
