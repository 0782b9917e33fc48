"""Many balances in one call: the same as one by one, each place asked once, and nothing that is not understood."""

import json
from datetime import UTC, datetime

import pytest

from service.ledger.freshness import Freshness
from service.ledger.repository import PostgresLedger
from service.ledger.timeline_lookup import TimelineLookup
from service.postgres.pool import ConnectionPool
from service.runtime.bootstrap import build_app
from service.web.app import MAX_BODY_BYTES
from service.web.schemas.balance_batch import MAX_BALANCES
from tests.support.settings import with_changes
from tests.unit.service.ledger.test_timeline_lookup import Kept

PATH = "/api/v1/balances"
PAIRS = [(2, "2020-06-30"), (1, "2020-01-31"), (999, "2020-01-31"), (1, "2020-02-29"), (3, "2020-05-31")]


def pairs(*chosen):
    return {"pairs": [{"loan_id": loan, "date": day} for loan, day in chosen]}


@pytest.fixture
def ask(client, bearer):
    """Asks for balances."""
    return lambda body: client.post(PATH, json=body, headers=bearer)


@pytest.mark.parametrize("more", [{}, {"snapshot": False}, {"snapshot": True}])
def test_each_pair_is_answered_as_by_itself_and_in_order(client, bearer, ask, more):
    before = datetime.now(UTC)
    reply = ask(pairs(*PAIRS) | more)
    assert (reply.status_code, reply.content_type) == (200, "application/json")
    known = [client.get(f"/{loan}/{day}", headers=bearer) for loan, day in PAIRS]
    assert reply.json["balances"] == [
        one.json if one.status_code == 200 else {"loan_id": 999, "date": "2020-01-31", "error": "unknown-loan"}
        for one in known
    ]
    as_of = datetime.fromisoformat(reply.headers["As-Of"])
    assert 0 <= (datetime.now(UTC) - as_of).total_seconds() <= 5 + (datetime.now(UTC) - before).total_seconds()


def test_each_loan_on_each_day(ask):
    loans, days = [2, 999, 1], ["2020-02-29", "2020-01-31"]
    reply = ask({"loan_ids": loans, "dates": days})
    each = ask(pairs(*((loan, day) for loan in loans for day in days)))
    assert reply.json == each.json
    assert len(reply.json["balances"]) == 6


def test_nothing_but_unknown_loans(ask):
    reply = ask(pairs((998, "2020-01-31"), (999, "0001-01-01")))
    assert [item["error"] for item in reply.json["balances"]] == ["unknown-loan"] * 2


def test_as_many_as_there_may_be(ask):
    reply = ask({"loan_ids": list(range(1, MAX_BALANCES + 1)), "dates": ["2020-02-29"]})
    assert len(reply.json["balances"]) == MAX_BALANCES
    assert [item.get("version") for item in reply.json["balances"][:4]] == [3, 1, 0, None]


PAIR = {"loan_id": 1, "date": "2020-01-31"}
WRONG = [
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


def test_what_is_not_understood_is_400_and_named(ask):
    for body, field in WRONG:
        reply = ask(body)
        assert (reply.status_code, reply.content_type) == (400, "application/problem+json"), body
        assert reply.json["errors"][0]["field"] == field, body
        assert len(reply.data) < 20_000


def test_what_is_no_json_object_or_too_large(client, bearer):
    for data, content_type, status in (
        (b'{"pairs": NaN}', "application/json", 400),
        (b'{"snapshot": true, "snapshot": false}', "application/json", 400),
        (json.dumps(pairs(*PAIRS)).encode(), "text/plain", 415),
        (b" " * (MAX_BODY_BYTES + 1), "application/json", 413),
    ):
        reply = client.post(PATH, data=data, content_type=content_type, headers=bearer)
        assert (reply.status_code, reply.content_type) == (status, "application/problem+json")


def test_it_takes_a_token_that_may_read(client, make_token):
    assert client.post(PATH, json=pairs(*PAIRS)).status_code == 401
    writes = {"Authorization": f"Bearer {make_token(scopes='api:write')}"}
    assert client.post(PATH, json=pairs(*PAIRS), headers=writes).status_code == 403


def test_without_postgres_it_is_503(served, bearer):
    app = build_app(with_changes(served, psql_port=1))
    reply = app.test_client().post(PATH, json=pairs(*PAIRS), headers=bearer)
    assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")


class Counted:
    """A database, or a cache, that counts how often it is asked for loans."""

    def __init__(self, behind):
        self.behind = behind
        self.asked = []

    def rows(self, query, parameters=()):
        self.asked.append(query.name)
        return self.behind.rows(query, parameters)

    def get_many(self, cluster, loan_ids):
        self.asked.append(list(loan_ids))
        return self.behind.get_many(cluster, loan_ids)

    def put_many(self, cluster, timelines):
        self.behind.put_many(cluster, timelines)


def test_each_place_is_asked_once_for_what_is_missing(served):
    freshness = Freshness(3600)
    freshness.listening("c", 0, freshness.now())
    near, far, database = Counted(Kept()), Counted(Kept()), Counted(ConnectionPool(served.postgres))
    timelines = TimelineLookup(PostgresLedger(database), freshness, caches=(near, far))
    timelines.get(1)
    near.asked.clear(), far.asked.clear(), database.asked.clear()
    assert timelines.get_many([3, 1, 999, 2]).keys() == {1, 2, 3}
    assert (near.asked, far.asked, database.asked) == ([[3, 1, 999, 2]], [[3, 999, 2]], ["timelines"])
    near.behind.clear()
    assert timelines.get_many([2, 3]).keys() == {2, 3}  # from the far one, and kept near again
    assert timelines.get_many([2, 3]).keys() == {2, 3}
    assert (far.asked[1:], database.asked) == ([[2, 3], []], ["timelines"])


def test_what_was_told_of_is_read_anew_and_the_rest_is_not(served, posting):
    freshness = Freshness(3600)
    freshness.listening("c", 0, freshness.now())
    timelines = TimelineLookup(PostgresLedger(ConnectionPool(served.postgres)), freshness, caches=(Kept(),))
    before = timelines.get_many([1, 2, 3])
    with posting, posting.cursor() as cursor:
        cursor.execute("SELECT post_events(ARRAY[1], ARRAY['fee'], ARRAY['2019-12-06'::date], ARRAY[7.00])")
    freshness.told(1, 4, 1)
    after = timelines.get_many([1, 2, 3])
    assert (before[1].timeline.version, after[1].timeline.version) == (3, 4)
    assert all(after[loan].timeline is before[loan].timeline for loan in (2, 3))
    together = timelines.get_consistent([1, 2, 3, 999])  # from Postgres, whatever is kept
    assert together.keys() == {1, 2, 3}
    assert all(known.timeline is not after[loan].timeline for loan, known in together.items())
