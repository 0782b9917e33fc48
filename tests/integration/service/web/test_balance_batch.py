"""Many balances in one request: equal to single ones, with one query to each store; invalid bodies are rejected."""

import json
from datetime import UTC, datetime

import pytest

from service.ledger.freshness import Freshness
from service.ledger.repository import PostgresLedger
from service.ledger.timeline_lookup import TimelineLookup
from service.postgres.pool import ConnectionPool
from service.web.app import MAX_BODY_BYTES
from service.web.schemas.balance_batch import MAX_BALANCES
from tests.support.application import build_app
from tests.support.settings import with_changes
from tests.unit.service.ledger.test_timeline_lookup import FakeCache

pytestmark = pytest.mark.shared_ledger

PATH = "/api/v1/balances"
PAIRS = [(2, "2020-06-30"), (1, "2020-01-31"), (999, "2020-01-31"), (1, "2020-02-29"), (3, "2020-05-31")]


def pairs(*chosen):
    return {"pairs": [{"loan_id": loan, "date": day} for loan, day in chosen]}


@pytest.fixture
def request_balances(client, bearer):
    """Posts a body to the route."""
    return lambda body: client.post(PATH, json=body, headers=bearer)


@pytest.mark.parametrize("more", [{}, {"snapshot": False}, {"snapshot": True}])
def test_each_pair_gets_the_reply_of_a_single_request_in_order(client, bearer, request_balances, more):
    before = datetime.now(UTC)
    reply = request_balances(pairs(*PAIRS) | more)
    assert (reply.status_code, reply.content_type) == (200, "application/json")
    singles = [client.get(f"/{loan}/{day}", headers=bearer) for loan, day in PAIRS]
    assert reply.json["balances"] == [
        single.json if single.status_code == 200 else {"loan_id": 999, "date": "2020-01-31", "error": "unknown-loan"}
        for single in singles
    ]
    as_of = datetime.fromisoformat(reply.headers["As-Of"])
    assert 0 <= (datetime.now(UTC) - as_of).total_seconds() <= 5 + (datetime.now(UTC) - before).total_seconds()


def test_each_loan_is_combined_with_each_date(request_balances):
    loans, days = [2, 999, 1], ["2020-02-29", "2020-01-31"]
    reply = request_balances({"loan_ids": loans, "dates": days})
    separate = request_balances(pairs(*((loan, day) for loan in loans for day in days)))
    assert reply.json == separate.json
    assert len(reply.json["balances"]) == 6


def test_a_request_may_contain_only_unknown_loans(request_balances):
    reply = request_balances(pairs((998, "2020-01-31"), (999, "0001-01-01")))
    assert [item["error"] for item in reply.json["balances"]] == ["unknown-loan"] * 2


def test_the_maximum_number_of_balances_is_accepted(request_balances):
    reply = request_balances({"loan_ids": list(range(1, MAX_BALANCES + 1)), "dates": ["2020-02-29"]})
    assert len(reply.json["balances"]) == MAX_BALANCES
    assert [item.get("version") for item in reply.json["balances"][:4]] == [3, 1, 0, None]


PAIR = {"loan_id": 1, "date": "2020-01-31"}
INVALID = [
    ({}, "pairs"),
    ({"snapshot": True}, "pairs"),
    ({"pairs": []}, "pairs"),
    ({"pairs": None}, "pairs"),
    ({"pairs": PAIR}, "pairs"),
    ({"pairs": [PAIR, PAIR]}, "pairs.1"),
    ({"pairs": [PAIR] * (MAX_BALANCES + 1)}, "pairs"),
    ({"pairs": [PAIR], "loan_ids": [1]}, "loan_ids"),
    ({"pairs": [PAIR], "day": "2020-01-31"}, "day"),
    ({"pairs": [PAIR], "snapshot": "true"}, "snapshot"),
    ({"pairs": [PAIR], "snapshot": 1}, "snapshot"),
    ({"pairs": [PAIR | {"loan_id": 0}]}, "pairs.0.loan_id"),
    ({"pairs": [PAIR | {"loan_id": 1.0}]}, "pairs.0.loan_id"),
    ({"pairs": [PAIR | {"loan_id": "1"}]}, "pairs.0.loan_id"),
    ({"pairs": [PAIR | {"loan_id": True}]}, "pairs.0.loan_id"),
    ({"pairs": [PAIR | {"loan_id": 2**63}]}, "pairs.0.loan_id"),
    ({"pairs": [PAIR | {"date": "2021-02-29"}]}, "pairs.0.date"),
    ({"pairs": [PAIR | {"date": "20200131"}]}, "pairs.0.date"),
    ({"pairs": [PAIR | {"date": 18_000}]}, "pairs.0.date"),
    ({"pairs": [PAIR | {"date": None}]}, "pairs.0.date"),
    ({"pairs": [PAIR | {"amt": 1}]}, "pairs.0.amt"),
    ({"pairs": [{"loan_id": 1}]}, "pairs.0.date"),
    ({"loan_ids": [1]}, "loan_ids"),
    ({"dates": ["2020-01-31"]}, "dates"),
    ({"loan_ids": [], "dates": ["2020-01-31"]}, "loan_ids"),
    ({"loan_ids": [1, 2, 1], "dates": ["2020-01-31"]}, "loan_ids.2"),
    ({"loan_ids": [1], "dates": ["2020-01-31", "2020-01-31"]}, "dates.1"),
    ({"loan_ids": list(range(1, 1002)), "dates": [f"2020-01-{day}" for day in range(10, 20)]}, "loan_ids"),
    ([PAIR], "body"),
    ("2020-01-31", "body"),
]


def test_an_invalid_body_is_400_and_names_the_field(request_balances):
    for body, field in INVALID:
        reply = request_balances(body)
        assert (reply.status_code, reply.content_type) == (400, "application/problem+json"), body
        assert reply.json["errors"][0]["field"] == field, body
        assert len(reply.data) < 20_000


def test_a_body_that_is_not_a_json_object_or_too_large_is_rejected(client, bearer):
    for data, content_type, status in (
        (b'{"pairs": NaN}', "application/json", 400),
        (b'{"snapshot": true, "snapshot": false}', "application/json", 400),
        (json.dumps(pairs(*PAIRS)).encode(), "text/plain", 415),
        (b" " * (MAX_BODY_BYTES + 1), "application/json", 413),
    ):
        reply = client.post(PATH, data=data, content_type=content_type, headers=bearer)
        assert (reply.status_code, reply.content_type) == (status, "application/problem+json")


def test_it_requires_a_token_with_the_read_scope(client, make_token):
    assert client.post(PATH, json=pairs(*PAIRS)).status_code == 401
    writes = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    assert client.post(PATH, json=pairs(*PAIRS), headers=writes).status_code == 403


def test_without_postgres_it_is_503(served, bearer):
    app = build_app(with_changes(served, psql_port=1))
    reply = app.test_client().post(PATH, json=pairs(*PAIRS), headers=bearer)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")


class RecordingStore:
    """A database or a cache that records which loans are requested from it."""

    def __init__(self, store):
        self.store = store
        self.calls = []

    def rows(self, query, parameters=()):
        self.calls.append(query.name.partition("_")[0])  # without the digest of the query
        return self.store.rows(query, parameters)

    def get(self, cluster, loan_id):
        return self.store.get(cluster, loan_id)

    def get_many(self, cluster, loan_ids):
        self.calls.append(list(loan_ids))
        return self.store.get_many(cluster, loan_ids)

    def put_many(self, cluster, timelines):
        self.store.put_many(cluster, timelines)


def test_each_store_is_queried_once_for_the_missing_loans(served):
    freshness = Freshness(3600)
    freshness.on_listen("c", 0, freshness.now())
    near, far, database = (
        RecordingStore(FakeCache()),
        RecordingStore(FakeCache()),
        RecordingStore(ConnectionPool(served.postgres)),
    )
    timelines = TimelineLookup(PostgresLedger(database), freshness, caches=(near, far))
    timelines.get(1)
    near.calls.clear(), far.calls.clear(), database.calls.clear()
    assert timelines.get_many([3, 1, 999, 2]).keys() == {1, 2, 3}
    assert (near.calls, far.calls, database.calls) == ([[3, 1, 999, 2]], [[3, 999, 2]], ["timelines"])
    near.store.clear()
    assert timelines.get_many([2, 3]).keys() == {2, 3}  # from the far cache, which fills the near one
    assert timelines.get_many([2, 3]).keys() == {2, 3}
    assert (far.calls[1:], database.calls) == ([[2, 3], []], ["timelines"])


def test_only_loans_with_a_change_notification_are_read_again(served, posting):
    freshness = Freshness(3600)
    freshness.on_listen("c", 0, freshness.now())
    timelines = TimelineLookup(PostgresLedger(ConnectionPool(served.postgres)), freshness, caches=(FakeCache(),))
    before = timelines.get_many([1, 2, 3])
    with posting, posting.cursor() as cursor:
        cursor.execute("SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-06'::date], ARRAY[7.00])")
    freshness.on_change(1, 4, 1)
    after = timelines.get_many([1, 2, 3])
    assert (before[1].timeline.version, after[1].timeline.version) == (3, 4)
    assert all(after[loan].timeline is before[loan].timeline for loan in (2, 3))
    together = timelines.get_consistent([1, 2, 3, 999])  # from Postgres, without the cache
    assert together.keys() == {1, 2, 3}
    assert all(snapshot.timeline is not after[loan].timeline for loan, snapshot in together.items())
