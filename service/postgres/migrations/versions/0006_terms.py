"""Terms and schedules of loans, and credits of interest."""

from service.postgres.migrations.sql_file import run_sql_beside

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Apply the revision."""
    run_sql_beside(__file__)
