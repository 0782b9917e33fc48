"""The ledger's tables in parts, by the hash of loan_id: they hold, answer and refuse what they do whole."""

import re
from contextlib import closing

import pytest

from service.ledger.repository import _TIMELINE, _TIMELINE_AT, _TIMELINE_KNOWN_AT
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from tests.conftest import refused, sql
from tests.integration.service.bulk_load.test_loader import test_large_files_are_posted_in_batches_to_the_same_ledger  # noqa: F401

# What holds for whole tables, here over those of `settings` below.
from tests.integration.service.ledger.test_idempotency import (  # noqa: F401
    submit,
    test_a_repeated_request_is_posted_once_and_gets_the_same_reply,
)
from tests.integration.service.postgres.test_ledger_tables import (  # noqa: F401
    ledger,
    loans,
    post,
    test_a_batch_gives_each_loan_its_next_versions,
    test_a_reversal_takes_an_event_back_once,
    test_a_source_id_is_used_once_per_loan,
    test_a_timeline_is_what_was_posted,
    test_concurrent_batches_in_opposite_orders_neither_block_for_ever_nor_share_a_version,
)

PARTS = 4
TABLES = ("loans", "loan_events")
# names and definitions; that a table is in parts is the one thing that may differ
SHAPE = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = %s::regclass AND conparentid = 0
    UNION ALL SELECT indexrelid::regclass::text, replace(pg_get_indexdef(indexrelid), ' ON ONLY ', ' ON ')
              FROM pg_index WHERE indrelid = %s::regclass
    UNION ALL SELECT tgname, translate(pg_get_triggerdef(oid), '()', '')
              FROM pg_trigger WHERE tgrelid = %s::regclass AND NOT tgisinternal
    UNION ALL SELECT 'right', grantee::regrole || ' ' || privilege_type FROM pg_class, aclexplode(relacl)
              WHERE oid = %s::regclass
    UNION ALL SELECT attname, concat_ws(' ', format_type(atttypid, atttypmod), attnotnull, attidentity,
                     pg_get_expr(adbin, adrelid), col_description(attrelid, attnum))
              FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
              WHERE attrelid = %s::regclass AND attnum > 0
    ORDER BY 1, 2
"""


@pytest.fixture
def settings(settings, request):
    """Settings of a database whose tables are in parts, so many as a parameter may say."""
    migrate(settings, getattr(request, "param", PARTS))
    return settings


def rows(admin) -> list[list[tuple]]:
    return [sql(admin, f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]


def shape(admin) -> list[list[tuple]]:
    return [sql(admin, SHAPE, *[table] * 5) for table in TABLES]


def count(admin, found: str) -> int:
    return sql(admin, f"SELECT count(*) FROM {found}")[0][0]


@pytest.mark.parametrize("settings", [None, 3], indirect=True)
def test_tables_with_rows_are_split_and_keep_all_they_have(settings, posting, admin, ledger):  # noqa: F811
    ids = list(range(1, 41))
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)",
        ids, ["2020-01-01"] * 40, ["1"] * 40, ["USD"] * 40)  # fmt: skip
    post(posting, *[(loan, "fee", "2020-03-01", "1") for loan in ids])
    before = rows(admin), shape(admin)
    assert ledger.timelines([7])[7].version == 1  # on a connection that stays, with what it has prepared
    migrate(settings, PARTS)
    assert ledger.timelines([7])[7].version == 1
    assert (rows(admin), shape(admin)) == before
    assert [count(admin, f"pg_inherits WHERE inhparent = '{table}'::regclass") for table in TABLES] == [PARTS, PARTS]
    assert count(admin, "(SELECT DISTINCT tableoid FROM loan_events) AS used") == PARTS
    post(posting, (7, "fee", "2020-03-01", "1"))
    assert sql(admin, "SELECT max(tx_id), count(*) FROM loan_events") == [(41, 41)]
    split = sql(admin, "SELECT 'loan_events'::regclass::oid")
    for again in (PARTS, None):
        migrate(settings, again)
        assert sql(admin, "SELECT 'loan_events'::regclass::oid") == split  # nothing was done


@pytest.mark.parametrize("table", ["loans_p0", "loan_events_p3"])
def test_a_part_refuses_what_the_whole_does(loans, posting, admin, settings, table):  # noqa: F811
    post(posting, *[(loan, "fee", "2020-03-01", "1") for loan in (1, 2)])
    for statement in ("DELETE FROM {}", "TRUNCATE {} CASCADE", "DELETE FROM {} WHERE false"):
        assert refused(admin, statement.format(table)).pgcode == "23001"
    for role in ("reader", "posting"):
        with closing(connect(settings, role)) as connection:
            for statement in ("SELECT FROM {}", "DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES", "TRUNCATE {}"):
                assert refused(connection, statement.format(table)).pgcode == "42501"


def test_terms_stand_in_every_part(loans, admin):  # noqa: F811
    for n in range(PARTS):
        ids = [loan for (loan,) in sql(admin, f"SELECT loan_id FROM loans_p{n}")]
        for loan in ids:
            assert refused(admin, f"UPDATE loans_p{n} SET initial_amt = 9 WHERE loan_id = {loan}").pgcode == "23001"
        assert refused(admin, f"UPDATE loan_events_p{n} SET amt = 9").pgcode == "23001"
    assert sql(admin, "SELECT count(*) FROM loans") == [(2,)]


@pytest.mark.parametrize("query", [_TIMELINE, _TIMELINE_AT, _TIMELINE_KNOWN_AT])
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_a_timeline_is_read_from_one_part(loans, posting, admin, query, plans):  # noqa: F811
    post(posting, *[(loan, "fee", "2020-03-01", "1") for loan in (1, 2)])
    sql(admin, "SELECT set_config('loaner.cluster', 'x', false)")  # as every connection of the service does
    sql(admin, f"SET plan_cache_mode = {plans}")
    sql(admin, f"PREPARE read ({', '.join(query.types)}) AS {query.sql}")
    until = "2100-01-01" if query is _TIMELINE_KNOWN_AT else 1
    plan = sql(admin, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE read (2, %s, '')", until)
    scanned = {
        name
        for (line,) in plan
        if "never executed" not in line
        for name in re.findall(" on (loan[a-z_]*_p[0-9])", line)
    }
    assert len(scanned) == len(TABLES), plan
