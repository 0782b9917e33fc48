"""Explanations of balances, their digest, and their parts."""

from decimal import Decimal
from hashlib import sha256

import pytest

from tests.conftest import sql

pytestmark = pytest.mark.shared_ledger

PATHS = ("/1/{}", "/api/v1/loan/1/{}")


def explain(client, bearer, day, path="/1/{}", **query):
    reply = client.get(path.format(day), headers=bearer, query_string={"explain": "true", **query})
    assert reply.status_code == 200, reply.text
    return reply.json


@pytest.mark.parametrize("path", PATHS)
def test_an_explanation_contains_the_terms_and_events(client, bearer, path):
    reply = explain(client, bearer, "2020-02-29", path)
    events, digest = reply.pop("events"), reply.pop("digest")
    assert reply == {
        "loan_id": 1, "date": "2020-02-29", "balance": "899.50", "currency": "USD", "version": 3,
        "start_date": "2019-12-05", "initial_amt": "1000.00",
    }  # fmt: skip
    assert len(digest) == 64
    tx_ids = [event.pop("tx_id") for event in events]
    assert tx_ids == sorted(tx_ids)
    assert [event.pop("version") for event in events] == [1, 2]
    assert all(event.pop("recorded_at").endswith("Z") for event in events)
    assert {event.pop(name) for event in events for name in ("reverses", "reversed_by")} == {None}
    assert events == [
        {"event_type": "interest", "post_date": "2020-01-31", "amt": "10.00", "reversal": False,
         "signed_amt": "10.00", "balance": "1010.00"},
        {"event_type": "payment", "post_date": "2020-02-29", "amt": "110.50", "reversal": False,
         "signed_amt": "-110.50", "balance": "899.50"},
    ]  # fmt: skip


@pytest.mark.parametrize("day", ["2019-12-04", "2019-12-05", "2020-02-29", "9999-12-31"])
def test_the_digest_can_be_recomputed_from_the_reply(client, bearer, day):
    reply = explain(client, bearer, day)
    head = [reply[field] for field in ("loan_id", "currency", "start_date", "initial_amt")]
    fields = ("tx_id", "event_type", "post_date", "signed_amt", "balance")
    lines = [
        head,
        *([event[field] for field in fields] for event in reply["events"]),
        [reply["date"], reply["balance"]],
    ]
    text = "".join(",".join(map(str, line)) + "\n" for line in lines)
    assert sha256(text.encode()).hexdigest() == reply["digest"]


def test_the_digest_depends_on_the_events_of_the_balance_and_not_on_later_ones(client, bearer, posting):
    before = explain(client, bearer, "2020-02-29")
    sql(posting, "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2020-03-01'::date], ARRAY[1.00])")
    after = explain(client, bearer, "2020-02-29")
    assert (after["version"], after["digest"]) == (4, before["digest"])
    sql(posting, "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2020-02-01'::date], ARRAY[1.00])")
    assert explain(client, bearer, "2020-02-29")["digest"] != before["digest"]
    assert explain(client, bearer, "2020-02-29", as_of_version=3) == before


def test_before_a_loan_starts_its_explanation_has_no_events(client, bearer, posting):
    sql(posting, "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-01'::date], ARRAY[1.00])")
    reply = explain(client, bearer, "2019-12-04")
    assert (reply["balance"], reply["events"]) == ("0.00", [])
    assert [event["balance"] for event in explain(client, bearer, "2019-12-05")["events"]] == ["1001.00"]


def test_a_reversal_is_marked_as_one(client, bearer, posting):
    [(tx_id,)] = sql(posting, "SELECT tx_id FROM loan_events WHERE loan_id = 1 AND event_type = 'payment'")
    sql(
        posting,
        "SELECT post_events(ARRAY[1], ARRAY['payment'], ARRAY['2020-03-02'::date], ARRAY[110.50], NULL,"
        " ARRAY[%s]::bigint[])",
        tx_id,
    )
    last = explain(client, bearer, "2020-03-02")["events"][-1]
    assert (last["event_type"], last["reversal"], last["amt"], last["signed_amt"], last["balance"]) == (
        "payment", True, "110.50", "110.50", "1010.05",
    )  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("parameter", ["explain", "parts"])
@pytest.mark.parametrize("value", ["", "1", "yes", "True"])
def test_an_invalid_boolean_is_400_and_names_the_parameter(client, bearer, path, parameter, value):
    reply = client.get(path.format("2020-02-29"), headers=bearer, query_string={parameter: value})
    assert (reply.status_code, reply.json["errors"]) == (
        400,
        [{"field": parameter, "detail": "expected true or false"}],
    )


def test_false_parameters_give_the_plain_reply(client, bearer):
    plain = client.get("/1/2020-02-29", headers=bearer)
    reply = client.get("/1/2020-02-29", headers=bearer, query_string={"explain": "false", "parts": "false"})
    assert (reply.data, reply.headers["ETag"]) == (plain.data, plain.headers["ETag"])


def test_too_many_events_are_rejected(client, bearer, posting):
    sql(
        posting,
        "SELECT post_events(array_agg(3), array_agg('fee'::text), array_agg('2020-06-01'::date + n),"
        " array_agg(1.00)) FROM generate_series(1, 10001) AS n",
    )
    reply = client.get("/3/9999-12-31", headers=bearer, query_string={"explain": "true"})
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "explain")
    assert "10001" in reply.json["message"]
    assert len(explain(client, bearer, "2047-10-18", "/3/{}")["events"]) == 10_000


# Parts


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("day", "fees", "interest", "principal"),
    [
        ("2019-12-04", "0.00", "0.00", "0.00"),
        ("2020-01-31", "0.00", "10.00", "1000.00"),
        ("2020-02-29", "0.00", "0.00", "899.50"),
        ("2020-03-01", "0.05", "0.00", "899.50"),
    ],
)
def test_a_balance_is_split_into_its_parts(client, bearer, path, day, fees, interest, principal):
    plain = client.get(path.format(day), headers=bearer).json
    reply = client.get(path.format(day), headers=bearer, query_string={"parts": "true"}).json
    assert reply == plain | {
        "parts": {"fees": fees, "interest": interest, "principal": principal},
        "allocation": ["fees", "interest", "principal"],
    }


def test_parts_and_explanation_can_be_combined(client, bearer):
    both = explain(client, bearer, "2020-02-29", parts="true", as_of_version=3)
    assert {"events", "digest", "parts", "allocation"} < set(both)
    parts = client.get("/1/2020-02-29", headers=bearer, query_string={"parts": "true"}).json
    assert both == explain(client, bearer, "2020-02-29") | parts


def test_an_overpayment_makes_the_principal_negative(client, bearer):
    reply = client.get("/2/2020-02-01", headers=bearer, query_string={"parts": "true"}).json
    assert reply["parts"] == {"fees": "0.00", "interest": "0.00", "principal": "-500.00"}


@pytest.mark.usefixtures("posting")  # a ledger that no other test shares
def test_a_reversed_payment_is_reallocated_as_if_it_had_never_been_made(client, make_token):
    both = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}

    def post(path, body):
        reply = client.post(f"/api/v1/{path}", json=body, headers=both)
        assert reply.status_code == 201, reply.text
        return reply.json

    def parts(day):
        reply = client.get(f"/api/v1/loan/70/{day}", query_string={"parts": "true"}, headers=both).json
        many = {"loan_ids": [70], "dates": [day], "parts": True}
        batch = client.post("/api/v1/balances", json=many, headers=both).json
        assert batch["balances"][0]["parts"] == reply["parts"]
        return tuple(reply["parts"].values())

    post("loan", {"loan_id": 70, "start_date": "2019-12-31", "initial_amt": "100.00"})
    events = [("payment", "2020-01-01"), ("fee", "2020-01-15"), ("payment", "2020-02-01")]
    rows = [{"event_type": kind, "post_date": day, "amt": "10.00"} for kind, day in events]
    first = post("loan/70/events", {"events": rows})["events"][0]["tx_id"]
    assert parts("2020-03-02") == ("0.00", "0.00", "90.00")
    reversal = {"event_type": "payment", "post_date": "2020-03-01", "amt": "10.00", "reverses": first}
    post("loan/70/events", {"events": [reversal]})
    assert parts("2020-02-29") == ("0.00", "0.00", "90.00")
    assert parts("2020-03-01") == parts("2020-03-02") == ("0.00", "0.00", "100.00")
    totals = client.get("/api/v1/portfolio/2020-03-02", query_string={"parts": "true"}, headers=both).json["totals"]
    before = client.get("/api/v1/portfolio/2020-02-29", query_string={"parts": "true"}, headers=both).json["totals"]
    assert Decimal(totals[0]["parts"]["principal"]) - Decimal(before[0]["parts"]["principal"]) == 10
