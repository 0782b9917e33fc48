"""Migrations that are written in SQL, each in a file beside its revision."""

from pathlib import Path

from alembic import op


def run_sql_beside(revision: str) -> None:
    """Run the SQL of a revision. revision: its Python file."""
    # straight to the driver: the text is full of percent signs that are no parameters
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(Path(revision).with_suffix(".sql").read_text(encoding="utf-8"))
