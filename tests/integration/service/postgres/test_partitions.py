"""Partitioned tables behave like unpartitioned ones."""

import re
from contextlib import closing

import pytest

from service.ledger.repository import _TIMELINE, _TIMELINE_AT, _TIMELINE_KNOWN_AT
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from tests.conftest import expect_error, sql
from tests.integration.service.bulk_load.conftest import files  # noqa: F401
from tests.integration.service.bulk_load.test_loader import test_large_files_are_posted_in_batches_to_the_same_ledger  # noqa: F401
from tests.integration.service.bulk_load.test_overlapping_files import (  # noqa: F401
    test_a_reversal_names_an_event_of_the_ledger_or_of_the_file,
)

# These tests run again on the partitioned tables of `settings` below.
from tests.integration.service.ledger.test_idempotency import (  # noqa: F401
    submit,
    test_a_repeated_request_is_posted_once_and_gets_the_same_reply,
)
from tests.integration.service.postgres.test_ledger_tables import (  # noqa: F401
    ledger,
    loans,
    post,
    test_a_batch_gives_each_loan_its_next_versions,
    test_a_source_id_is_unique_per_loan,
    test_a_timeline_contains_the_posted_events,
    test_an_event_can_be_reversed_once,
    test_concurrent_batches_in_opposite_orders_neither_deadlock_nor_share_a_version,
)
from tests.support.agreements import post_schedules, post_terms

PARTITIONS = 4
TABLES = ("loans", "loan_events", "loan_terms", "loan_schedules")
# names and definitions, normalized so that partitioning makes no difference
SHAPE = """
    SELECT conname, replace(pg_get_constraintdef(oid), ' NOT VALID', '') FROM pg_constraint
              WHERE conrelid = %s::regclass AND conparentid = 0
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
    """Settings of a database with partitioned tables; a parameter may change the number of partitions."""
    migrate(settings, getattr(request, "param", PARTITIONS))
    return settings


def rows(admin) -> list[list[tuple]]:
    return [sql(admin, f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES]


def shape(admin) -> list[list[tuple]]:
    return [sql(admin, SHAPE, *[table] * 5) for table in TABLES]


def count(admin, found: str) -> int:
    return sql(admin, f"SELECT count(*) FROM {found}")[0][0]


@pytest.mark.parametrize("settings", [None, 3], indirect=True)
def test_partitioning_keeps_rows_and_definitions(settings, posting, admin, ledger):  # noqa: F811
    ids = list(range(1, 41))
    sql(posting, "SELECT create_loans(%s, %s::date[], %s::numeric[], %s)",
        ids, ["2020-01-01"] * 40, ["1"] * 40, ["USD"] * 40)  # fmt: skip
    post(posting, *[(loan, "fee", "2020-03-01", "1") for loan in ids])
    post_terms(posting, *[(loan, "2020-01-01", "0.1") for loan in ids if loan != 7])
    post_schedules(posting, *[(loan, "2020-01-01", [("2020-02-01", "5")]) for loan in ids if loan != 7])
    before = rows(admin), shape(admin)
    assert ledger.timelines([7])[7].version == 1  # on a connection that keeps its prepared statement
    migrate(settings, PARTITIONS)
    assert ledger.timelines([7])[7].version == 1
    assert (rows(admin), shape(admin)) == before
    assert [count(admin, f"pg_inherits WHERE inhparent = '{table}'::regclass") for table in TABLES] == [PARTITIONS] * 4
    assert count(admin, "(SELECT DISTINCT tableoid FROM loan_events) AS used") == PARTITIONS
    post(posting, (7, "fee", "2020-03-01", "1"))
    assert sql(admin, "SELECT max(tx_id), count(*) FROM loan_events") == [(41, 41)]
    partitioned = sql(admin, "SELECT 'loan_events'::regclass::oid")
    for again in (PARTITIONS, None):
        migrate(settings, again)
        assert sql(admin, "SELECT 'loan_events'::regclass::oid") == partitioned  # nothing was done


@pytest.mark.parametrize("table", ["loans_p0", "loan_events_p3", "loan_terms_p1", "loan_schedules_p2"])
def test_a_partition_rejects_the_changes_that_its_parent_rejects(loans, posting, admin, settings, table):  # noqa: F811
    post(posting, *[(loan, "fee", "2020-03-01", "1") for loan in (1, 2)])
    for statement in ("DELETE FROM {}", "TRUNCATE {} CASCADE", "DELETE FROM {} WHERE false"):
        assert expect_error(admin, statement.format(table)).pgcode == "23001"
    for role in ("reader", "posting"):
        with closing(connect(settings, role)) as connection:
            for statement in ("SELECT FROM {}", "DELETE FROM {}", "INSERT INTO {} DEFAULT VALUES", "TRUNCATE {}"):
                assert expect_error(connection, statement.format(table)).pgcode == "42501"


def test_terms_are_immutable_in_every_partition(loans, admin):  # noqa: F811
    for n in range(PARTITIONS):
        ids = [loan for (loan,) in sql(admin, f"SELECT loan_id FROM loans_p{n}")]
        for loan in ids:
            assert (
                expect_error(admin, f"UPDATE loans_p{n} SET initial_amt = 9 WHERE loan_id = {loan}").pgcode == "23001"
            )
        assert expect_error(admin, f"UPDATE loan_events_p{n} SET amt = 9").pgcode == "23001"
    assert sql(admin, "SELECT count(*) FROM loans") == [(2,)]


@pytest.mark.parametrize("query", [_TIMELINE, _TIMELINE_AT, _TIMELINE_KNOWN_AT])
@pytest.mark.parametrize("plans", ["force_custom_plan", "force_generic_plan"])
def test_a_timeline_is_read_from_one_partition(loans, posting, admin, query, plans):  # noqa: F811
    post(posting, *[(loan, "fee", "2020-03-01", "1") for loan in (1, 2)])
    sql(admin, "SELECT set_config('loaner.cluster', 'x', false)")  # as every connection of the service does
    sql(admin, f"SET plan_cache_mode = {plans}")
    sql(admin, f"PREPARE read ({', '.join(query.types)}) AS {query.sql}")
    until = "2100-01-01" if query is _TIMELINE_KNOWN_AT else 1
    plan = sql(admin, "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE read (2, %s, '')", until)
    assert {name[:-3] for name in scanned_in(plan)} == {"loans", "loan_events"}, plan
    assert len(scanned_in(plan)) == 2, plan


def scanned_in(plan) -> set[str]:
    """Return the partitions that an executed plan has read."""
    lines = [line for (line,) in plan if "never executed" not in line]
    return {name for line in lines for name in re.findall(" on (loan[a-z_]*_p[0-9])", line)}


@pytest.mark.parametrize("kind", ["terms", "schedules"])
def test_terms_and_schedules_are_read_from_one_partition(loans, posting, admin, ledger, kind):  # noqa: F811
    post_terms(posting, *[(loan, "2020-01-01", "0.1") for loan in (1, 2)])
    post_schedules(posting, *[(loan, "2020-01-01", [("2020-02-01", "5")]) for loan in (1, 2)])
    assert (len(ledger.timelines([2])[2].terms), len(ledger.timelines([2])[2].schedules)) == (1, 1)
    plan = sql(admin, f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) SELECT * FROM applying_{kind}(2, 9)")
    assert {name[:-3] for name in scanned_in(plan)} == {f"loan_{kind}"}, plan
    assert len(scanned_in(plan)) == 1, plan
