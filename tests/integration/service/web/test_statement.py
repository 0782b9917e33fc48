"""Statements: opening balance, events and closing balance, as consistent pages and as CSV."""

import struct
import tracemalloc
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import date
from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from native import FEE, Timeline, day_number
from service.domain.date_range import DateRange
from service.domain.statement import Statement
from service.web.pagination import Cursor, parse_cursor
from service.web.statement_csv import statement_csv
from tests.conftest import sql

pytestmark = pytest.mark.shared_ledger

STATEMENT = "/api/v1/loan/1/statement"
YEAR = DateRange(date(2020, 1, 1), date(2020, 12, 31))


def get_statement(client, bearer, query="", headers=(), path=STATEMENT):
    return client.get(f"{path}?{query}", headers={**bearer, **dict(headers)})


def test_the_default_range_begins_with_the_principal_and_ends_today(client, bearer):
    reply = get_statement(client, bearer)
    assert reply.status_code == 200
    members = {name: reply.json[name] for name in ("loan_id", "currency", "version", "from", "next_cursor")}
    assert members == {"loan_id": 1, "currency": "USD", "version": 3, "from": "2019-12-05", "next_cursor": None}
    assert (reply.json["opening_balance"], reply.json["closing_balance"]) == ("0.00", "899.55")
    principal, interest, payment, _ = reply.json["events"]
    assert principal == {
        "tx_id": None, "event_type": "principal", "post_date": "2019-12-05", "amt": "1000.00", "reversal": False,
        "signed_amt": "1000.00", "balance": "1000.00", "version": None, "recorded_at": None, "reverses": None,
        "reversed_by": None,
    }  # fmt: skip
    assert (interest["signed_amt"], interest["balance"]) == ("10.00", "1010.00")
    assert (payment["amt"], payment["signed_amt"], payment["balance"]) == ("110.50", "-110.50", "899.50")


@pytest.mark.parametrize(
    ("query", "opening", "types", "closing"),
    [
        ("from=2020-02-01&to=2020-02-29", "1010.00", ["payment"], "899.50"),
        ("from=2020-02-01&to=2020-02-28", "1010.00", [], "1010.00"),
        ("from=2019-12-06&to=2019-12-06", "1000.00", [], "1000.00"),
        ("from=0001-01-01&to=2019-12-04", "0.00", [], "0.00"),
        ("from=0001-01-01&to=2019-12-05", "0.00", ["principal"], "1000.00"),
        ("from=2021-01-01&to=9999-12-31", "899.55", [], "899.55"),
    ],
)
def test_a_date_range_has_its_events(client, bearer, query, opening, types, closing):
    reply = get_statement(client, bearer, query).json
    assert (reply["opening_balance"], reply["closing_balance"]) == (opening, closing)
    assert [event["event_type"] for event in reply["events"]] == types


def test_events_before_the_start_date_count_from_it(client, bearer, posting):
    sql(posting, "SELECT post_events(ARRAY[3], ARRAY['fee'], ARRAY['2020-05-01'::date], ARRAY[1.00])")
    for query, opening, types in (
        ("from=2020-06-01", "0.00", ["principal", "fee"]),
        ("from=2020-06-02", "51.00", []),
        ("from=2020-05-02&to=2020-05-31", "0.00", []),
        ("from=2020-05-01&to=2020-05-31", "0.00", []),
    ):
        reply = get_statement(client, bearer, query, path="/api/v1/loan/3/statement").json
        assert (reply["opening_balance"], [event["event_type"] for event in reply["events"]]) == (opening, types)


def test_pages_stay_consistent_while_events_are_posted(client, bearer, posting):
    whole = get_statement(client, bearer, "to=2020-12-31").json
    page = get_statement(client, bearer, "to=2020-12-31&limit=1").json
    events = page["events"]
    while page["next_cursor"]:
        sql(posting, "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-06'::date], ARRAY[1.00])")
        page = get_statement(client, bearer, f"limit=1&cursor={page['next_cursor']}").json
        assert (page["version"], page["closing_balance"]) == (3, "899.55")
        events += page["events"]
    assert events == whole["events"]
    assert get_statement(client, bearer).json["version"] == 6


def test_parameters_beside_a_cursor_must_agree_with_it(client, bearer):
    query = "from=2020-01-01&to=2020-12-31&limit=2"
    cursor = get_statement(client, bearer, query).json["next_cursor"]
    for also in ("", "&min_version=3", "&as_of_version=3"):
        assert len(get_statement(client, bearer, f"{query}&cursor={cursor}{also}").json["events"]) == 1
    for other in ("from=2020-01-02", "to=2020-12-30", "as_of_version=2", "min_version=4"):
        check_cursor_is_rejected(get_statement(client, bearer, f"{other}&cursor={cursor}"))
    check_cursor_is_rejected(get_statement(client, bearer, f"cursor={cursor}", path="/api/v1/loan/2/statement"))


def check_cursor_is_rejected(reply):
    assert (reply.status_code, [error["field"] for error in reply.json["errors"]]) == (400, ["cursor"]), reply.text


@given(st.data())
def test_a_changed_cursor_is_rejected(data):
    text = str(Cursor(1, 3, YEAR, 2))
    assert parse_cursor(text) == Cursor(1, 3, YEAR, 2)
    at = data.draw(st.integers(0, len(text) - 1))
    other = text[:at] + data.draw(st.text(max_size=3)) + text[at + 1 :]
    if other != text:
        with pytest.raises(ValueError, match="next_cursor"):
            parse_cursor(other)
    bits = bytearray(urlsafe_b64decode(text))
    bits[data.draw(st.integers(0, len(bits) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ValueError, match="next_cursor"):
        parse_cursor(urlsafe_b64encode(bits).decode())


@pytest.mark.parametrize("cursor", ["", "x", "%00", "é", "AAAA", str(Cursor(1, 3, YEAR, 2))[:-4]])
def test_an_invalid_cursor_is_400_and_named(client, bearer, cursor):
    check_cursor_is_rejected(get_statement(client, bearer, f"cursor={cursor}"))


@pytest.mark.parametrize(
    "members", [(1, -1, 0, 0, 1), (1, 3, 2**31 - 1, 2**31 - 1, 1), (1, 3, -(2**31), 0, 1), (1, 3, 1, 0, 1)]
)
def test_a_forged_cursor_with_a_valid_checksum_is_400(client, bearer, members):
    packed = struct.pack(">qqiiq", *members)
    check = blake2b(packed, digest_size=10, person=b"loaner-cursor").digest()
    check_cursor_is_rejected(get_statement(client, bearer, f"cursor={urlsafe_b64encode(packed + check).decode()}"))


@pytest.mark.parametrize("position", [-1, 3, 4, 2**63 - 1])
def test_a_cursor_outside_the_statement_is_400(client, bearer, position):
    check_cursor_is_rejected(get_statement(client, bearer, f"cursor={Cursor(1, 3, YEAR, position)}"))


def test_a_cursor_of_a_version_that_the_loan_has_not_reached_is_412(client, bearer):
    assert get_statement(client, bearer, f"cursor={Cursor(1, 4, YEAR, 1)}").status_code == 412


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=ten", "limit"), ("limit=", "limit"),
        ("format=xml", "format"), ("from=2020-02-30", "from"), ("to=x", "to"),
        ("from=2020-02-02&to=2020-02-01", "from"),
        ("min_version=x", "min_version"), ("as_of_version=x", "as_of_version"),
        ("as_of_version=1&min_version=1", "as_of_version"), ("format=csv&limit=5", "limit"),
        (f"format=csv&cursor={Cursor(1, 3, YEAR, 2)}", "cursor"),
    ],
)  # fmt: skip
def test_an_invalid_parameter_is_400_and_named(client, bearer, query, field):
    reply = get_statement(client, bearer, query)
    assert (reply.status_code, [error["field"] for error in reply.json["errors"]]) == (400, [field])


def test_an_unknown_loan_is_404(client, bearer):
    for query in ("", "format=csv"):
        assert get_statement(client, bearer, query, path="/api/v1/loan/999/statement").status_code == 404


# CSV


def test_csv_contains_the_whole_statement(client, bearer):
    reply = get_statement(client, bearer, "from=2020-02-01&to=2020-03-01&format=csv")
    assert reply.content_type == "text/csv; charset=utf-8; header=present"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="loan-1-2020-02-01-2020-03-01.csv"'
    header, opening, payment, fee, closing = reply.text.removesuffix("\r\n").split("\r\n")
    assert header.startswith("tx_id,event_type,post_date,amt,reversal,signed_amt,balance,")
    assert header.endswith(",version,recorded_at,reverses,reversed_by,loan_id,currency")
    assert opening == ",opening,2020-02-01,,,,1010.00,,,,,1,USD"
    assert payment.partition(",")[2].startswith("payment,2020-02-29,110.50,false,-110.50,899.50,2,")
    assert fee.partition(",")[2].startswith("fee,2020-03-01,0.05,false,0.05,899.55,3,")
    assert fee.endswith(",,,1,USD")
    assert closing == ",closing,2020-03-01,,,,899.55,,,,,1,USD"


@pytest.mark.parametrize(
    ("accept", "query", "expected"),
    [
        ("text/csv", "", "text/csv"),
        ("text/csv, application/json;q=0.9", "", "text/csv"),
        ("text/html, */*;q=0.8", "", "application/json"),
        ("image/png", "", "application/json"),
        ("text/csv", "format=json", "application/json"),
        ("application/json", "format=csv", "text/csv"),
    ],
)
def test_accept_and_format_select_the_media_type(client, bearer, accept, query, expected):
    reply = get_statement(client, bearer, query, {"Accept": accept})
    assert (reply.status_code, reply.mimetype, reply.headers["Vary"]) == (200, expected, "Accept")


def test_a_matching_if_none_match_is_304_for_csv(client, bearer):
    reply = get_statement(client, bearer, "format=csv")
    assert "As-Of" in reply.headers
    again = get_statement(client, bearer, "format=csv", {"If-None-Match": reply.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_different_versions_and_date_ranges_have_different_tags(client, bearer, posting):
    queries = ("format=csv", "format=csv&to=2020-12-31", "format=csv&as_of_version=2", "format=json")
    tags = [get_statement(client, bearer, query).headers["ETag"] for query in queries]
    sql(posting, "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-06'::date], ARRAY[1.00])")
    tags += [get_statement(client, bearer, query).headers["ETag"] for query in queries[:2]]
    assert len(set(tags)) == 6


def test_a_long_csv_is_streamed_in_constant_memory():
    peaks = []
    for count in (2_000, 20_000):
        timeline = Timeline.build(
            loan_id=1, version=count, horizon=1, start_day=0, initial=0, currency="USD", exponent=2,
            days=[day_number(YEAR.first)] * count, kinds=[FEE] * count, amounts=[1] * count, tx_ids=range(count),
            versions=range(1, count + 1), recorded_at=[0] * count, reverses=[0] * count,
        )  # fmt: skip
        tracemalloc.start()
        rows = sum(chunk.count(b"\r\n") for chunk in statement_csv(Statement(timeline, YEAR), YEAR))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert rows == count + 3
    assert peaks[1] < 1.1 * peaks[0] < 2 * 10**6


def test_ten_thousand_events_are_paged_and_exported(client, bearer, posting):
    sql(
        posting,
        "SELECT post_events(array_agg(3), array_agg('fee'::text), array_agg('2020-06-01'::date + n / 9),"
        " array_agg(1.00)) FROM generate_series(1, 10000) AS n",
    )
    path = "/api/v1/loan/3/statement"
    page = get_statement(client, bearer, "limit=1000&to=2030-01-01", path=path).json
    events = page["events"]
    while page["next_cursor"]:
        page = get_statement(client, bearer, f"limit=1000&cursor={page['next_cursor']}", path=path).json
        events += page["events"]
    assert (len(events), events[-1]["balance"], page["closing_balance"]) == (10_001, "10050.00", "10050.00")
    assert len(get_statement(client, bearer, "format=csv", path=path).text.splitlines()) == 10_004
