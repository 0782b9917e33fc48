"""Why a balance is what it is, and a digest that a client can make again."""

from hashlib import sha256

import pytest

from tests.conftest import sql

PATHS = ("/1/{}", "/api/v1/loan/1/{}")


def explain(client, bearer, day, path="/1/{}", **query):
    reply = client.get(path.format(day), headers=bearer, query_string={"explain": "true", **query})
    assert reply.status_code == 200, reply.text
    return reply.json


@pytest.mark.parametrize("path", PATHS)
def test_what_is_behind_a_balance_is_told_beside_it(client, bearer, path):
    told = explain(client, bearer, "2020-02-29", path)
    events, digest = told.pop("events"), told.pop("digest")
    assert told == {
        "loan_id": 1, "date": "2020-02-29", "balance": "899.50", "currency": "USD", "version": 3,
        "start_date": "2019-12-05", "initial_amt": "1000.00",
    }  # fmt: skip
    assert len(digest) == 64
    tx_ids = [event.pop("tx_id") for event in events]
    assert tx_ids == sorted(tx_ids)
    assert events == [
        {"event_type": "interest", "post_date": "2020-01-31", "amt": "10.00", "reversal": False,
         "signed_amt": "10.00", "balance": "1010.00"},
        {"event_type": "payment", "post_date": "2020-02-29", "amt": "110.50", "reversal": False,
         "signed_amt": "-110.50", "balance": "899.50"},
    ]  # fmt: skip


@pytest.mark.parametrize("day", ["2019-12-04", "2019-12-05", "2020-02-29", "9999-12-31"])
def test_the_digest_can_be_made_from_the_reply_alone(client, bearer, day):
    told = explain(client, bearer, day)
    head = [told[field] for field in ("loan_id", "currency", "start_date", "initial_amt")]
    fields = ("tx_id", "event_type", "post_date", "signed_amt", "balance")
    lines = [head, *([event[field] for field in fields] for event in told["events"]), [told["date"], told["balance"]]]
    text = "".join(",".join(map(str, line)) + "\n" for line in lines)
    assert sha256(text.encode()).hexdigest() == told["digest"]


def test_the_digest_changes_with_what_is_behind_the_balance_and_not_with_what_comes_later(client, bearer, posting):
    before = explain(client, bearer, "2020-02-29")
    sql(posting, "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2020-03-01'::date], ARRAY[1.00])")
    after = explain(client, bearer, "2020-02-29")
    assert (after["version"], after["digest"]) == (4, before["digest"])
    sql(posting, "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2020-02-01'::date], ARRAY[1.00])")
    assert explain(client, bearer, "2020-02-29")["digest"] != before["digest"]
    assert explain(client, bearer, "2020-02-29", as_of_version=3) == before


def test_before_a_loan_starts_nothing_is_behind_its_balance(client, bearer, posting):
    sql(posting, "SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-01'::date], ARRAY[1.00])")
    told = explain(client, bearer, "2019-12-04")
    assert (told["balance"], told["events"]) == ("0.00", [])
    assert [event["balance"] for event in explain(client, bearer, "2019-12-05")["events"]] == ["1001.00"]


def test_a_reversal_says_so(client, bearer, posting):
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
@pytest.mark.parametrize("wish", ["explain", "parts"])
@pytest.mark.parametrize("wrong", ["", "1", "yes", "True"])
def test_a_wrong_wish_is_400_and_named(client, bearer, path, wish, wrong):
    reply = client.get(path.format("2020-02-29"), headers=bearer, query_string={wish: wrong})
    assert (reply.status_code, reply.json["errors"]) == (
        400,
        [{"field": wish, "detail": "expected true or false"}],
    )


def test_not_to_explain_is_the_plain_reply(client, bearer):
    plain = client.get("/1/2020-02-29", headers=bearer)
    told = client.get("/1/2020-02-29", headers=bearer, query_string={"explain": "false", "parts": "false"})
    assert (told.data, told.headers["ETag"]) == (plain.data, plain.headers["ETag"])


def test_too_many_events_are_refused(client, bearer, posting):
    sql(
        posting,
        "SELECT post_events(array_agg(3), array_agg('fee'::text), array_agg('2020-06-01'::date + n),"
        " array_agg(1.00)) FROM generate_series(1, 10001) AS n",
    )
    reply = client.get("/3/9999-12-31", headers=bearer, query_string={"explain": "true"})
    assert (reply.status_code, reply.json["errors"][0]["field"]) == (400, "explain")
    assert "10001" in reply.json["message"]
    assert len(explain(client, bearer, "2047-10-18", "/3/{}")["events"]) == 10_000


# What it is made of


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
    told = client.get(path.format(day), headers=bearer, query_string={"parts": "true"}).json
    assert told == plain | {
        "parts": {"fees": fees, "interest": interest, "principal": principal},
        "allocation": ["fees", "interest", "principal"],
    }


def test_parts_and_their_explanation_come_together(client, bearer):
    both = explain(client, bearer, "2020-02-29", parts="true", as_of_version=3)
    assert {"events", "digest", "parts", "allocation"} < set(both)
    parts = client.get("/1/2020-02-29", headers=bearer, query_string={"parts": "true"}).json
    assert both == explain(client, bearer, "2020-02-29") | parts


def test_what_was_paid_beyond_everything_is_a_principal_below_zero(client, bearer):
    told = client.get("/2/2020-02-01", headers=bearer, query_string={"parts": "true"}).json
    assert told["parts"] == {"fees": "0.00", "interest": "0.00", "principal": "-500.00"}
