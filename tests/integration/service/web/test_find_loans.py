"""Finding loans: filters, states, pages of one moment, CSV, and the cost of a page."""

import csv
from contextlib import closing
from datetime import UTC, date, datetime
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ledger.loan_search import MAX_EXAMINED, LoanFilter, LoanSearch, build_query
from service.postgres.connect import connect
from service.postgres.migrate import migrate
from service.postgres.pool import ConnectionPool
from service.web.pagination import parse_search_cursor, write_search_cursor
from tests.conftest import sql

LOANS = "/api/v1/loans"
CREATE = "SELECT create_loans(ARRAY[%s], ARRAY[%s]::date[], ARRAY[%s]::numeric[], ARRAY[%s])"
DAY = date(2020, 7, 1)


@pytest.fixture
def find(client, bearer):
    """Requests a page of loans."""

    def find(query="", status=200):
        reply = client.get(f"{LOANS}?{query}", headers=bearer)
        assert reply.status_code == status, reply.text
        return reply

    return find


@pytest.fixture
def walk(find):
    """Requests all pages, and returns the loans of each."""

    def walk(query):
        pages = [find(query).json]
        while pages[-1]["next_cursor"]:
            limit = "&".join(part for part in query.split("&") if part.startswith("limit="))
            pages.append(find(f"{limit}&cursor={pages[-1]['next_cursor']}").json)
        return [page["loans"] for page in pages]

    return walk


def ids(loans):
    return [loan["loan_id"] for loan in loans]


@pytest.mark.shared_ledger
def test_loans_have_their_terms_balances_and_states(find):
    reply = find("date=2020-07-01")
    assert reply.json == {
        "date": "2020-07-01",
        "loans": [
            {"loan_id": 1, "start_date": "2019-12-05", "initial_amt": "1000.00", "currency": "USD",
             "balance": "899.55", "state": "open", "version": 3},
            {"loan_id": 2, "start_date": "2019-12-06", "initial_amt": "2000.00", "currency": "USD",
             "balance": "-500.00", "state": "closed", "version": 1},
            {"loan_id": 3, "start_date": "2020-06-01", "initial_amt": "50.00", "currency": "USD",
             "balance": "50.00", "state": "open", "version": 0},
        ],
        "next_cursor": None,
    }  # fmt: skip
    assert reply.headers["As-Of"]
    assert reply.headers["Vary"] == "Accept"
    assert "Link" not in reply.headers


@pytest.mark.shared_ledger
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", [1, 2, 3]),
        ("id_from=2", [2, 3]),
        ("id_to=2", [1, 2]),
        ("id_from=2&id_to=2", [2]),
        ("id_from=4", []),
        ("id_to=9223372036854775807&id_from=9223372036854775807", []),
        ("currency=USD", [1, 2, 3]),
        ("currency=EUR", []),
        ("start_from=2019-12-06", [2, 3]),
        ("start_to=2019-12-06", [1, 2]),
        ("start_from=2019-12-06&start_to=2020-05-31", [2]),
        ("start_from=0001-01-01&start_to=9999-12-31", [1, 2, 3]),
        ("start_from=2019-12-05&start_to=2019-12-05&currency=USD&id_to=1", [1]),
        ("state=not_started&date=2019-12-05", [2, 3]),
        ("state=open&date=2019-12-05", [1]),
        ("state=closed&date=2019-12-05", []),
        ("state=closed&date=2020-07-01", [2]),
        ("state=open&date=2020-07-01", [1, 3]),
        ("state=open&date=2020-07-01&start_from=2020-01-01", [3]),
    ],
)
def test_filters_select_loans(find, query, expected):
    assert ids(find(query).json["loans"]) == expected


def test_a_loan_with_balance_zero_is_closed(find, posting):
    sql(posting, "SELECT post_events(ARRAY[3], ARRAY['payment'], ARRAY['2020-06-02'::date], ARRAY[50])")
    assert ids(find("state=closed&date=2020-06-02").json["loans"]) == [2, 3]
    assert ids(find("state=open&date=2020-06-01").json["loans"]) == [1, 3]


def test_amounts_have_the_decimals_of_the_currency(find, posting):
    for loan_id, amount, currency in ((10, "1000", "JPY"), (11, "1.234", "KWD")):
        sql(posting, CREATE, loan_id, DAY, amount, currency)
    found = find("id_from=10&date=2020-07-01").json["loans"]
    assert [(loan["initial_amt"], loan["balance"]) for loan in found] == [("1000", "1000"), ("1.234", "1.234")]


@pytest.mark.shared_ledger
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("id_from=0", "id_from"), ("id_from=x", "id_from"), ("id_to=9223372036854775808", "id_to"),
        ("id_from=2&id_to=1", "id_from"), ("currency=usd", "currency"), ("currency=USDX", "currency"),
        ("start_from=2020-02-30", "start_from"), ("start_to=2020-1-1", "start_to"),
        ("start_from=2020-02-02&start_to=2020-02-01", "start_from"), ("state=paid", "state"), ("state=", "state"),
        ("date=today", "date"), ("limit=0", "limit"), ("limit=1001", "limit"), ("format=xml", "format"),
        ("cursor=", "cursor"), ("cursor=x", "cursor"), ("cursor=%00", "cursor"), ("from=2020-01-01", "from"),
    ],
)  # fmt: skip
def test_an_invalid_parameter_is_400_and_named(find, query, field):
    reply = find(query, 400)
    assert reply.json["type"] == "urn:loaner:problem:invalid-request"
    assert [error["field"] for error in reply.json["errors"]] == [field]


@pytest.mark.shared_ledger
def test_pages_continue_in_the_order_of_ids(find, walk):
    assert [ids(page) for page in walk("limit=2")] == [[1, 2], [3]]
    assert [ids(page) for page in walk("limit=1&start_from=2019-12-05&start_to=2020-06-01")] == [[1], [2], [3]]
    assert [ids(page) for page in walk("limit=3")] == [[1, 2, 3]]
    assert [loan for page in walk("limit=1&state=open&date=2020-07-01") for loan in ids(page)] == [1, 3]
    link = find("limit=2").headers["Link"]
    assert link.startswith("</api/v1/loans?limit=2&cursor=")
    assert link.endswith('>; rel="next"')


@pytest.mark.shared_ledger
def test_parameters_beside_a_cursor_must_agree_with_it(find):
    first = (
        "currency=USD&start_from=2019-01-01&start_to=2020-12-31&id_from=1&id_to=9&date=2020-07-01&state=open&limit=1"
    )
    cursor = find(first).json["next_cursor"]
    assert ids(find(f"{first}&cursor={cursor}").json["loans"]) == [3]
    for other in (
        "currency=EUR", "start_from=2019-01-02", "start_to=2020-12-30", "id_from=2", "id_to=8", "date=2020-07-02",
        "state=closed",
    ):  # fmt: skip
        reply = find(f"{other}&cursor={cursor}", 400)
        assert [error["field"] for error in reply.json["errors"]] == ["cursor"], other


@pytest.mark.shared_ledger
def test_csv_has_the_same_pages(client, bearer):
    reply = client.get(f"{LOANS}?date=2020-07-01&limit=2", headers={**bearer, "Accept": "text/csv"})
    assert reply.headers["Content-Type"] == "text/csv; charset=utf-8; header=present"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="loans-2020-07-01.csv"'
    assert reply.text == (
        "loan_id,start_date,initial_amt,currency,date,balance,state,version\r\n"
        "1,2019-12-05,1000.00,USD,2020-07-01,899.55,open,3\r\n"
        "2,2019-12-06,2000.00,USD,2020-07-01,-500.00,closed,1\r\n"
    )
    url = reply.headers["Link"].removeprefix("<").partition(">")[0]
    following = client.get(f"{url}&format=csv", headers=bearer)
    assert [row["loan_id"] for row in csv.DictReader(StringIO(following.text))] == ["3"]
    assert "Link" not in following.headers


def test_loans_that_are_created_after_the_first_page_are_left_out(find, posting):
    for loan_id in (20, 40, 60):
        sql(posting, CREATE, loan_id, DAY, 1, "EUR")
    page = find("currency=EUR&limit=1").json
    found = ids(page["loans"])
    for loan_id in (10, 30, 50, 70):
        sql(posting, CREATE, loan_id, DAY, 1, "EUR")
    while page["next_cursor"]:
        page = find(f"limit=1&cursor={page['next_cursor']}").json
        found += ids(page["loans"])
    assert found == [20, 40, 60]
    assert ids(find("currency=EUR").json["loans"]) == [10, 20, 30, 40, 50, 60, 70]


def test_a_creation_that_is_open_at_the_first_page_is_left_out_of_all_pages(find, settings, posting):
    with closing(connect(settings, "posting")) as slow, slow.cursor() as cursor:
        cursor.execute(CREATE, (15, DAY, 1, "EUR"))  # recorded before all others
        for loan_id in (10, 20):
            sql(posting, CREATE, loan_id, DAY, 1, "EUR")
        cursor.execute(CREATE, (16, DAY, 1, "EUR"))
        page = find("currency=EUR&limit=1").json
        cursor.execute(CREATE, (17, DAY, 1, "EUR"))
        slow.commit()
    rest = find(f"cursor={page['next_cursor']}").json
    assert (ids(page["loans"]), ids(rest["loans"])) == ([10], [20])
    assert ids(find("currency=EUR").json["loans"]) == [10, 15, 16, 17, 20]


def test_postings_during_a_walk_neither_repeat_nor_hide_a_loan(find, posting):
    page = find("limit=1").json
    found = ids(page["loans"])
    while page["next_cursor"]:
        for loan in (1, 2, 3):  # moves the rows
            sql(posting, "SELECT post_events(ARRAY[%s], ARRAY['fee'], ARRAY['2020-06-02'::date], ARRAY[1])", loan)
        page = find(f"limit=1&cursor={page['next_cursor']}").json
        found += ids(page["loans"])
    assert found == [1, 2, 3]


def test_loans_of_a_restored_dump_are_found(find, settings, admin, posting):
    sql(posting, CREATE, 10, DAY, 1, "EUR")
    with admin, admin.cursor() as cursor:  # numbers of another cluster, beyond those of this one
        cursor.execute("ALTER TABLE loans DISABLE TRIGGER loans_terms_stand")
        cursor.execute("UPDATE loans SET created_in = '9000000000000000000'")
        cursor.execute("ALTER TABLE loans ENABLE TRIGGER loans_terms_stand")
    assert ids(find("").json["loans"]) == [1, 2, 3, 10]


def test_a_search_does_not_continue_in_another_cluster(find):
    position = parse_search_cursor(find("limit=1").json["next_cursor"])
    other = position.snapshot._replace(cluster="0" * 16)
    reply = find(f"cursor={write_search_cursor(type(position)(position.filter, position.after, other))}", 400)
    assert reply.json["errors"][0]["field"] == "cursor"
    assert "begin again" in reply.json["errors"][0]["detail"]


@given(st.data())
def test_a_changed_cursor_is_rejected(data):
    text = write_search_cursor(
        parse_search_cursor(
            write_search_cursor(
                LoanSearch(FakeDatabase()).begin(LoanFilter(DAY, currency="USD", state="open", start_from=DAY))
            )
        )
    )
    at = data.draw(st.integers(0, len(text) - 1))
    other = text[:at] + data.draw(st.text(max_size=3)) + text[at + 1 :]
    if other != text:
        with pytest.raises(ValueError, match="next_cursor"):
            parse_search_cursor(other)


class FakeDatabase:
    """Answers the two queries with which a search begins."""

    def rows(self, query, parameters=()):
        if "known_until" in query:
            return [(datetime(2020, 7, 1, 12, tzinfo=UTC),)]
        return [("1000:1010:1001,1005", "5.7.00000001.0")]


def test_a_page_examines_a_bounded_number_of_loans(find, admin):
    with admin, admin.cursor() as cursor:
        insert_loans(cursor, 25_000)
    page = find("state=closed&id_from=1001&date=2030-01-01").json
    assert (page["loans"], page["next_cursor"] is not None) == ([], True)
    assert parse_search_cursor(page["next_cursor"]).after == 1000 + MAX_EXAMINED
    pages = 1
    while page["next_cursor"]:
        page = find(f"cursor={page['next_cursor']}").json
        pages += 1
    assert (page["loans"], pages) == ([], 3)


def insert_loans(cursor, count):
    """Insert loans 1001, 1002 and so on: in EUR, but every 1000th in CHF; 25 on each day from 2010 on."""
    cursor.execute(
        """
        INSERT INTO loans (loan_id, start_date, initial_amt, currency, exponent, recorded_at)
        SELECT 1000 + n, '2010-01-01'::date + (n * 7919 %% (%(count)s / 25)), 100,
               CASE WHEN n %% 1000 = 0 THEN 'CHF' ELSE 'EUR' END, 2, '2020-01-01'
        FROM generate_series(1, %(count)s) AS n
        """,
        {"count": count},
    )
    cursor.execute(
        """
        INSERT INTO loan_events (loan_id, event_type, post_date, amt, version, recorded_at)
        SELECT loan_id, 'fee', start_date, 1, 1, '2020-01-01' FROM loans WHERE loan_id > 1000 AND mod(loan_id, 5) = 0
        """
    )
    cursor.execute("ANALYZE loans, loan_events")


@pytest.mark.parametrize("partitions", [None, 4])
@pytest.mark.timeout(300)
def test_a_page_of_a_large_ledger_takes_few_index_reads(settings, admin, partitions):
    if partitions:
        migrate(settings, partitions)
    with admin, admin.cursor() as cursor:
        insert_loans(cursor, 150_000)
    admin.autocommit = True
    with admin.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE loans, loan_events")
    search = LoanSearch(ConnectionPool(settings))
    middle = date(2018, 1, 1)
    for chosen, ranges in (
        (LoanFilter(DAY), 1),
        (LoanFilter(DAY, first_id=100_000, last_id=100_050), 1),
        (LoanFilter(DAY, currency="EUR"), 1),
        (LoanFilter(DAY, currency="CHF"), 1),
        (LoanFilter(DAY, currency="XYZ"), 1),
        (LoanFilter(DAY, start_from=middle, start_to=middle), 1),
        (LoanFilter(DAY, start_from=middle, start_to=date(2018, 1, 31)), 31),
        (LoanFilter(DAY, currency="EUR", start_from=middle, start_to=middle), 1),
        (LoanFilter(DAY, currency="CHF", start_from=middle, start_to=date(2018, 12, 31)), 365),
        (LoanFilter(DAY, start_from=middle), 25),  # walks along the ids: about half of the loans started later
    ):
        position = search.begin(chosen)
        query, parameters = build_query(position, 101)
        # a reader's session, as those of the service
        rows = ConnectionPool(settings).rows(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}", parameters)
        [plan] = rows[0][0]
        nodes = list(nodes_of(plan["Plan"]))
        assert "Seq Scan" not in {node["Node Type"] for node in nodes}, (chosen, plan)
        read = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
        # For each of at most 101 loans: its row by the key, and its events. For each range of an index: its pages, and
        # up to 25 rows that vacuum has not yet marked as visible to all.
        assert read < (101 * 8 + ranges * 40) * (partitions or 1) + 100, (chosen, read)


def nodes_of(plan):
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


def test_partitions_have_the_indexes_and_the_default(settings, admin, posting):
    migrate(settings, 4)
    names = {row[0] for row in sql(admin, "SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'loans\\_p%%'")}
    for columns in ("(currency, loan_id)", "(start_date, loan_id)", "(currency, start_date, loan_id)"):
        assert sum(name.endswith(columns) for name in names) == 4
    sql(posting, CREATE, 10, DAY, 1, "EUR")
    assert sql(admin, "SELECT created_in IS NOT NULL FROM loans") == [(True,)]
