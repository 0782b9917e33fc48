"""Minor units of each loan's currency, provenance, closed periods, and recording times that only grow."""

from alembic import op

from service.postgres.currencies import sync_currencies
from service.postgres.migrations.sql_file import run_sql_beside

revision = "0004"
down_revision = "0003"

_CURRENCIES = """
    CREATE TABLE public.currencies (
        code     text PRIMARY KEY CHECK (code ~ '^[A-Z]{3}$'),
        exponent smallint NOT NULL CHECK (exponent BETWEEN 0 AND 4)
    );
    COMMENT ON TABLE public.currencies IS
        'ISO 4217 currencies with a minor unit, in which loans may be created; `migrate` keeps it up to date';
    COMMENT ON COLUMN public.currencies.exponent IS 'number of decimals: 2 for USD, 0 for JPY, 3 for KWD';
    GRANT SELECT ON public.currencies TO loaner_reader, loaner_poster;
"""


def upgrade() -> None:
    """Apply the migration."""
    with op.get_bind().connection.cursor() as cursor:
        cursor.execute(_CURRENCIES)
        sync_currencies(cursor)
    run_sql_beside(__file__)
