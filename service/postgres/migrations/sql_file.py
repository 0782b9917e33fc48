"""Runs migrations that are written in SQL, each in a file beside its revision."""

from pathlib import Path

from alembic import op


def run_sql_beside(revision: str) -> None:
    """Run the SQL file of a revision.

    Args:
        revision: The path of the revision's Python file.
    """
    # The driver's cursor: SQLAlchemy would take percent signs in the script for parameters.
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(Path(revision).with_suffix(".sql").read_text(encoding="utf-8"))
