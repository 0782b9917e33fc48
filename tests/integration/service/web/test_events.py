"""The events of a loan as they were recorded, and the provenance of events in balances and statements."""

import csv
from datetime import datetime, timedelta
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.ledger.event_log import EventFilter
from service.web.pagination import EventsCursor, parse_events_cursor
from tests.conftest import sql
from tests.support.application import build_app
from tests.support.settings import with_changes

EVENTS = "/api/v1/loan/1/events"


@pytest.fixture
def writer(make_token):
    """Headers with a token that may post."""
    return {"Authorization": f"Bearer {make_token(scopes='api:read api:write', userId='ann')}"}


@pytest.fixture
def post(client, writer):
    """Posts events to loan 1, and returns the reply."""

    def post(*events):
        base = {"event_type": "fee", "post_date": "2020-03-05", "amt": "1.50"}
        reply = client.post(EVENTS, json={"events": [{**base, **event} for event in events]}, headers=writer)
        assert reply.status_code == 201, reply.text
        return reply.json

    return post


@pytest.fixture
def list_events(client, bearer):
    """Requests a page of events."""

    def list_events(query=None, status=200, path=EVENTS):
        reply = client.get(path, query_string=query or {}, headers=bearer)
        assert reply.status_code == status, reply.text
        return reply

    return list_events


def versions(reply):
    return [event["version"] for event in reply.json["events"]]


def test_events_are_listed_as_they_were_recorded(post, list_events):
    made = post({"source_id": "receipt 7", "memo": "late fee"}, {"amt": "2"})
    [fee, _] = made["events"]
    undone = post({"reverses": fee["tx_id"], "memo": "charged twice"})
    reply = list_events()
    assert {name: reply.json[name] for name in ("loan_id", "currency", "version", "next_cursor")} == {
        "loan_id": 1, "currency": "USD", "version": 6, "next_cursor": None,
    }  # fmt: skip
    assert versions(reply) == [1, 2, 3, 4, 5, 6]
    first, *_, fourth, fifth, sixth = reply.json["events"]
    assert fourth == {
        "tx_id": fee["tx_id"], "version": 4, "event_type": "fee", "post_date": "2020-03-05", "amt": "1.50",
        "recorded_at": made["recorded_at"], "source_id": "receipt 7", "reverses": None,
        "reversed_by": undone["events"][0]["tx_id"], "posted_by": "ann", "memo": "late fee",
    }  # fmt: skip
    assert (fifth["source_id"], fifth["memo"], fifth["amt"], fifth["reversed_by"]) == (None, None, "2.00", None)
    assert (sixth["reverses"], sixth["memo"], sixth["recorded_at"]) == (
        fee["tx_id"], "charged twice", undone["recorded_at"],
    )  # fmt: skip
    assert first["posted_by"]
    assert reply.headers["ETag"].startswith('"6-')
    assert reply.headers["As-Of"]


def test_reversed_by_names_only_what_the_version_or_time_knows(post, list_events):
    made = post({})
    fee = made["events"][0]["tx_id"]
    undone = post({"reverses": fee})
    reversal = undone["events"][0]["tx_id"]
    for query, expected in (
        ({}, reversal),
        ({"as_of_version": 5}, reversal),
        ({"as_of_version": 4}, None),
        ({"known_at": undone["recorded_at"]}, reversal),
        ({"known_at": made["recorded_at"]}, None),
    ):
        reply = list_events({**query, "event_type": "fee", "recorded_from": made["recorded_at"]})
        assert reply.json["events"][0]["reversed_by"] == expected, query
        assert ("As-Of" in reply.headers) == (not query)
    for query, expected in (({}, reversal), ({"as_of_version": 4}, None), ({"known_at": made["recorded_at"]}, None)):
        for path in ("/1/2020-12-31", "/api/v1/loan/1/statement"):
            explain = {"explain": "true"} if path == "/1/2020-12-31" else {}
            events = list_events({**query, **explain}, path=path).json["events"]
            assert [event["reversed_by"] for event in events if event["tx_id"] == fee] == [expected], (path, query)


def test_filters_select_events(post, list_events):
    made = post({"source_id": "a"}, {"event_type": "payment"})
    later = post({"source_id": "b"})
    for query, expected in (
        ({"source_id": "a"}, [4]),
        ({"source_id": "c"}, []),
        ({"event_type": "payment"}, [2, 5]),
        ({"recorded_from": made["recorded_at"]}, [4, 5, 6]),
        ({"recorded_to": made["recorded_at"]}, [1, 2, 3, 4, 5]),
        ({"recorded_from": made["recorded_at"], "recorded_to": made["recorded_at"]}, [4, 5]),
        ({"recorded_from": later["recorded_at"], "event_type": "fee", "source_id": "b"}, [6]),
        ({"recorded_from": "2999-01-01T00:00:00Z"}, []),
        ({"as_of_version": 4, "event_type": "fee"}, [3, 4]),
        ({"as_of_version": 0}, []),
    ):
        assert versions(list_events(query)) == expected, query


def test_pages_show_the_version_of_the_first_page(post, list_events):
    post({"source_id": "a"}, {})
    whole = list_events().json["events"]
    page = list_events({"limit": 2}).json
    events = page["events"]
    while page["next_cursor"]:
        post({"reverses": events[-1]["tx_id"], "amt": events[-1]["amt"], "event_type": events[-1]["event_type"]})
        page = list_events({"limit": 2, "cursor": page["next_cursor"]}).json
        assert page["version"] == 5
        events += page["events"]
    assert events == whole


def test_parameters_beside_a_cursor_must_agree_with_it(post, list_events):
    post({"source_id": "a"}, {})
    now = datetime.fromisoformat(list_events().json["events"][-1]["recorded_at"])
    query = {"event_type": "fee", "recorded_from": "2020-01-01T00:00:00Z", "recorded_to": "2999-01-01T00:00:00Z"}
    cursor = list_events({**query, "limit": 1}).json["next_cursor"]
    for also in ({}, query, {"as_of_version": 5}, {"min_version": 5}, {"known_at": now.isoformat()}):
        assert versions(list_events({**also, "cursor": cursor})) == [4, 5]
    for other in (
        {"event_type": "payment"}, {"source_id": "a"}, {"recorded_from": "2020-01-02T00:00:00Z"},
        {"recorded_to": "2998-01-01T00:00:00Z"}, {"as_of_version": 4}, {"min_version": 6},
        {"known_at": (now - timedelta(microseconds=1)).isoformat()},
    ):  # fmt: skip
        reply = list_events({**other, "cursor": cursor}, 400)
        assert [error["field"] for error in reply.json["errors"]] == ["cursor"], other
    assert list_events({"cursor": cursor}, 400, path="/api/v1/loan/2/events").json["errors"][0]["field"] == "cursor"


@pytest.mark.shared_ledger
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"source_id": ""}, "source_id"), ({"source_id": " "}, "source_id"), ({"source_id": "x" * 201}, "source_id"),
        ({"source_id": "a\x00"}, "source_id"), ({"event_type": "principal"}, "event_type"),
        ({"recorded_from": "2020-01-01"}, "recorded_from"), ({"recorded_to": "x"}, "recorded_to"),
        ({"recorded_from": "2020-01-02T00:00:00Z", "recorded_to": "2020-01-01T00:00:00Z"}, "recorded_from"),
        ({"limit": "0"}, "limit"), ({"limit": "1001"}, "limit"),
        ({"cursor": ""}, "cursor"), ({"cursor": "x"}, "cursor"),
        ({"as_of_version": "1", "known_at": "2020-01-01T00:00:00Z"}, "known_at"), ({"format": "xml"}, "format"),
        ({"as_of_version": "-1"}, "as_of_version"), ({"known_at": "x"}, "known_at"), ({"from": "2020-01-01"}, "from"),
    ],
)  # fmt: skip
def test_an_invalid_parameter_is_400_and_named(list_events, query, field):
    reply = list_events(query, 400)
    assert [error["field"] for error in reply.json["errors"]] == [field]


@pytest.mark.shared_ledger
def test_unknown_loans_versions_and_times_are_reported(list_events):
    assert list_events({}, 404, path="/api/v1/loan/999/events").json["loan_id"] == 999
    assert list_events({"known_at": "2000-01-01T00:00:00Z"}, 404).json["type"].endswith("unknown-loan")
    for query in ({"as_of_version": 4}, {"min_version": 4}):
        assert list_events(query, 412).json["version"] == 3
    assert "known_until" in list_events({"known_at": "2999-01-01T00:00:00Z"}, 412).json
    assert list_events({}, 400, path="/api/v1/loan/0/events").json["errors"][0]["field"] == "loan_id"


def test_listing_needs_only_the_scope_to_read(served, client, bearer):
    assert client.get(EVENTS).status_code == 401
    opened = build_app(with_changes(served, secure_loans=False)).test_client()
    assert opened.get(EVENTS).status_code == 200
    assert opened.post(EVENTS, json={}).status_code == 401


CHOSEN = EventFilter("receipt é 7", "fee", None, datetime.fromisoformat("2020-07-01T12:00:00.000001+00:00"))


@given(st.data())
def test_a_changed_cursor_is_rejected(data):
    text = str(EventsCursor(1, 3, CHOSEN, 2))
    assert parse_events_cursor(text) == EventsCursor(1, 3, CHOSEN, 2)
    at = data.draw(st.integers(0, len(text) - 1))
    other = text[:at] + data.draw(st.text(max_size=3)) + text[at + 1 :]
    if other != text:
        with pytest.raises(ValueError, match="next_cursor"):
            parse_events_cursor(other)


NULL = {"source_id": None, "posted_by": None, "memo": None}


def test_provenance_is_added_on_request(post, list_events, admin):
    post({"source_id": "receipt 7", "memo": 'said "twice", then left'})
    expected = {"source_id": "receipt 7", "posted_by": "ann", "memo": 'said "twice", then left'}
    for path, query in (("/1/2020-12-31", {"explain": "true"}), ("/api/v1/loan/1/statement", {})):
        plain = list_events(query, path=path).json
        assert not NULL.keys() & plain["events"][-1].keys()
        reply = list_events({**query, "provenance": "true"}, path=path).json
        assert {name: reply["events"][-1][name] for name in NULL} == expected
        assert reply["events"][0]["source_id"] is None
        for event in reply["events"]:
            for name in NULL:
                del event[name]
        assert reply == plain  # the digest included
    principal = list_events({"provenance": "true"}, path="/api/v1/loan/1/statement").json["events"][0]
    assert (principal["event_type"], {name: principal[name] for name in NULL}) == ("principal", NULL)
    assert [principal[name] for name in ("version", "recorded_at", "reverses", "reversed_by")] == [None] * 4


def test_recording_times_agree_on_all_routes(post, list_events):
    made = post({})
    tx_id = made["events"][0]["tx_id"]
    for path, query in (
        (EVENTS, {}),
        ("/1/2020-12-31", {"explain": "true"}),
        ("/api/v1/loan/1/statement", {}),
    ):
        [event] = [each for each in list_events(query, path=path).json["events"] if each["tx_id"] == tx_id]
        assert (event["version"], event["recorded_at"]) == (4, made["recorded_at"]), path


@pytest.mark.shared_ledger
def test_provenance_without_explain_is_400(list_events):
    for query in ({"provenance": "true"}, {"provenance": "true", "explain": "false"}):
        reply = list_events(query, 400, path="/1/2020-12-31")
        assert [error["field"] for error in reply.json["errors"]] == ["provenance"]
    assert list_events({"provenance": "yes"}, 400, path="/1/2020-12-31").status_code == 400


def test_csv_has_the_loan_last_and_is_safe_to_open_in_a_spreadsheet(post, list_events):
    post({"source_id": "=1+1", "memo": 'said "twice", é'}, {"source_id": "+7"}, {"source_id": "a,b"})
    path = "/api/v1/loan/1/statement"
    plain = list_events({"format": "csv"}, path=path)
    head = plain.text.partition("\r\n")[0]
    assert head == (
        "tx_id,event_type,post_date,amt,reversal,signed_amt,balance,version,recorded_at,reverses,reversed_by,"
        "loan_id,currency"
    )
    rows = list(csv.DictReader(StringIO(plain.text)))
    assert {(row["loan_id"], row["currency"]) for row in rows} == {("1", "USD")}
    full = list_events({"format": "csv", "provenance": "true"}, path=path)
    assert full.headers["ETag"] != plain.headers["ETag"]
    assert full.text.partition("\r\n")[0] == head.replace(",loan_id", ",source_id,posted_by,memo,loan_id")
    *_, formula, plus, comma, closing = csv.DictReader(StringIO(full.text))
    assert (formula["source_id"], formula["memo"]) == ("'=1+1", 'said "twice", é')
    assert (plus["source_id"], comma["source_id"], comma["posted_by"]) == ("'+7", "a,b", "ann")
    assert (closing["event_type"], closing["source_id"], closing["currency"]) == ("closing", "", "USD")


def test_events_of_a_loan_without_decimals(client, writer, list_events, posting):
    sql(posting, "SELECT create_loans(ARRAY[10], ARRAY['2020-01-01'::date], ARRAY[1000], ARRAY['JPY'])")
    body = {"events": [{"event_type": "fee", "post_date": "2020-01-02", "amt": "7"}]}
    assert client.post("/api/v1/loan/10/events", json=body, headers=writer).json["balance"] == "1007"
    assert list_events(path="/api/v1/loan/10/events").json["events"][0]["amt"] == "7"
    reply = list_events({"explain": "true", "parts": "true"}, path="/10/2020-01-02").json
    assert (reply["balance"], reply["initial_amt"], reply["events"][0]["signed_amt"]) == ("1007", "1000", "7")
    assert reply["parts"] == {"fees": "7", "interest": "0", "principal": "1000"}
    history = list_events({"to": "2020-01-02"}, path="/api/v1/loan/10/history").json
    assert [point["balance"] for point in history["balances"]] == ["1000", "1007"]
    assert list_events({"to": "2020-01-02"}, path="/api/v1/loan/10/statement").json["closing_balance"] == "1007"
