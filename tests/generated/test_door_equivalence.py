"""The front door answers plain balances itself: byte for byte as the framework would.

Each generated request is sent twice on one connection: as it is, and with a header that makes the framework answer it.
"""

import os
import re
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from security.keys.verification_key import LEEWAY_S
from service.domain.parsing import MAX_LOAN_ID
from service.postgres.connect import connect
from tests.conftest import load_ledger
from tests.support.door import open_door
from tests.support.raw_http import RawReply, request_bytes

EXAMPLES = int(os.environ.get("LOANER_GENERATED") or 400)
THROUGH_FLASK = ("Content-Length", "0")  # sends a request through the framework, and changes nothing in the reply
VARYING = {"date": r"\w{3}, .* GMT", "as-of": r"\d{4}-.*Z", "x-request-id": r"[0-9a-zA-Z._:#-]{7,128}"}
OWN_BALANCE = "/api/v1/loan/1/2020-02-29"

PREFIXES = st.sampled_from(
    ["/api/v1/loan/"] * 6 + ["/"] * 6 + ["//", "/api/v1/loan//", "/api/v1/loans/", "/API/v1/loan/"]
)
KNOWN = st.sampled_from(["1", "2", "3"])
LOANS = st.one_of(
    KNOWN,
    KNOWN,
    st.integers(0, MAX_LOAN_ID + 5).map(str),
    st.builds(lambda zeros, loan: "0" * zeros + loan, st.integers(1, 20), KNOWN),
    st.sampled_from(
        ["", "-1", "+1", "1.0", "1e0", "%31", "1%20", "0x1", "%EF%BC%91", "%D9%A1", "1_0", "x", "%00", "1%2F", "%FF"]
    ),
)
DATES = st.dates().map(str)
DAYS = st.one_of(
    DATES,
    st.sampled_from(["2020-02-29", "2020-03-01", "0001-01-01", "9999-12-31"]),
    st.sampled_from(
        [
            "2021-02-29", "2020-02-30", "2020-13-01", "0000-01-01", "2020-2-29", "20200229", "2020-060", "2020-W01-1",
            "----------", "2020-02-29T00:00", "%32020-02-29", "2020%2D02-29", "%EF%BC%92020-02-29", "2020-02-29%20",
            "history", "statement", "", "10000-01-01", "-001-01-01",
        ]
    ),
)  # fmt: skip
ENDS = st.sampled_from(
    [""] * 12 + ["/", "//", "?", "?x=1", "?explain=true", ";a", "/.", "/..", "%3F", "?min_version=1", "?format=csv"]
)
METHODS = st.sampled_from(["GET"] * 10 + ["HEAD", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
OTHER_HEADERS = st.lists(
    st.sampled_from(
        [
            ("Accept", "text/csv"), ("Accept", "*/*"), ("Accept-Encoding", "gzip"), ("X-Forwarded-For", "203.0.113.7"),
            ("X-Forwarded-Prefix", "/loaner"), ("X-Forwarded-Prefix", "//evil"), ("X-Request-ID", "given#1"),
            ("X-Forwarded-Proto", "https"), ("Content-Type", "application/json"), ("If-Match", '"1"'),
            ("Range", "bytes=0-1"), ("Idempotency-Key", "a"), ("Cookie", "a=b"), ("Expect", "x"),
            ("Connection", "keep-alive"), ("Via", "1.1 a"), ("Content_Type", "x"), ("Origin", "null"), ("X", "é"),
        ]
    ),
    max_size=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def door(databases, keys_dir, tmp_path_factory):
    with databases.create() as chosen:
        with closing(connect(chosen, "posting")) as connection:
            load_ledger(connection, tmp_path_factory.mktemp("ledger"))
        with open_door(chosen, keys_dir) as door:
            yield door


@pytest.fixture(scope="module")
def authorizations(make_token) -> list[list[tuple[str, str]]]:
    """Headers with a valid token first, then none, and ones that are rejected."""
    valid = make_token()
    rejected = [
        make_token(exp=1), make_token(scopes="api:write"), make_token(scopes=None), make_token(nbf=2**33),
        make_token(headers={"kid": "x"}), f"{valid}x",
    ]  # fmt: skip
    values = [
        "", "Bearer", "Bearer ", "Bearer x.y.z", "Basic dTpw", "Bearer é", f"bearer {valid}", f"Bearer  {valid}",
        f"Bearer {valid} ", valid, *(f"Bearer {token}" for token in rejected),
        f"Bearer {make_token(scopes='api:read api:write')}", f"Bearer {make_token(algorithm='PS256')}",
    ]  # fmt: skip
    one = [[("Authorization", value)] for value in values]
    twice = [
        [("Authorization", f"Bearer {valid}"), ("Authorization", each)] for each in (f"Bearer {valid}", "Bearer x")
    ]
    return [[("Authorization", f"Bearer {valid}")], [], *one, *twice]


@dataclass(frozen=True)
class Pair:
    """The replies to one request, by the door and by the framework."""

    plain: RawReply | None
    through_flask: RawReply | None


def exchange(door, method: str, target: str, headers: list[tuple[str, str]]) -> Pair:
    replies = []
    for sent in (headers, [*headers, THROUGH_FLASK]):
        with door.connect() as connection:
            connection.send(request_bytes(method, target, sent))
            replies.append(connection.read_reply(head=method == "HEAD"))
    return Pair(*replies)


def comparable(reply: RawReply | None) -> tuple | None:
    """Return a reply without the values that differ between two requests, after checking their form."""
    if reply is None:
        return None
    headers = []
    for name, value in reply.headers:
        pattern = VARYING.get(name.lower())
        assert pattern is None or re.fullmatch(pattern, value), (name, value)
        headers.append((name, value if pattern is None else "varies"))
    return reply.line, tuple(headers), reply.body, reply.is_whole


def test_replies_equal_those_of_the_framework(door, authorizations, make_token, report_measurement):
    statuses: Counter[int] = Counter()
    valid = authorizations[0]
    insufficient = [("Authorization", f"Bearer {make_token(scopes='api:write')}")]
    for loan in (1, 2, 3):  # cached from now on, as is the token
        assert door.send(request_bytes("GET", f"/{loan}/2020-02-29", valid)).status == 200

    @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        METHODS, st.builds("".join, st.tuples(PREFIXES, LOANS, st.just("/"), DAYS, ENDS)),
        st.one_of(st.just(valid), st.just(valid), st.sampled_from(authorizations)), OTHER_HEADERS,
    )  # fmt: skip
    @example("GET", OWN_BALANCE, valid, [])
    @example("GET", "/1/2020-02-29", valid, [])
    @example("HEAD", OWN_BALANCE, valid, [])
    @example("GET", OWN_BALANCE, [], [])
    @example("GET", OWN_BALANCE, insufficient, [])
    @example("GET", OWN_BALANCE, valid, [("Accept", "text/csv")])
    @example("GET", f"{OWN_BALANCE}?format=csv", valid, [])
    @example("HEAD", f"{OWN_BALANCE}?format=csv&parts=true", valid, [])
    @example("GET", "/1/2021-02-29", valid, [])
    @example("GET", "/999/2020-02-29", valid, [])
    @example("GET", f"{OWN_BALANCE}/", valid, [])
    @example("GET", "/01/2020-02-29", valid, [])
    def compare(method, target, authorization, others):
        pair = exchange(door, method, target, [*authorization, *others])
        assert pair.plain is not None
        statuses[pair.plain.status] += 1
        assert comparable(pair.plain) == comparable(pair.through_flask)

    compare()
    report_measurement(f"replies of the front door compared with the framework's, by status: {dict(statuses)}")
    assert {200, 400, 401, 403, 404} <= statuses.keys()


def test_each_rejected_token_gets_the_same_reply(door, authorizations):
    for authorization in authorizations[1:]:
        pair = exchange(door, "GET", OWN_BALANCE, authorization)
        assert comparable(pair.plain) == comparable(pair.through_flask), authorization


def test_http_1_0_gets_the_same_reply(door, authorizations):
    def send(headers):
        return door.send(request_bytes("GET", OWN_BALANCE, headers).replace(b"HTTP/1.1", b"HTTP/1.0", 1))

    assert comparable(send(authorizations[0])) == comparable(send([*authorizations[0], THROUGH_FLASK]))


def test_a_token_that_expires_is_rejected_from_then_on(door, make_token):
    """A token that is cached as valid is not valid for longer than it says (RFC 7519, section 4.1.4)."""
    expires = time.time() + 2
    headers = [("Authorization", f"Bearer {make_token(exp=expires)}")]
    data = request_bytes("GET", OWN_BALANCE, headers)
    assert [door.send(data).status for _ in range(3)] == [200] * 3
    while door.send(data).status == 200:
        assert time.time() < expires + LEEWAY_S + 2
        time.sleep(0.2)
    pair = exchange(door, "GET", OWN_BALANCE, headers)
    assert pair.plain is not None
    assert pair.plain.status == 401
    assert comparable(pair.plain) == comparable(pair.through_flask)
