"""A request whose body did not arrive whole is never carried out.

RFC 9112, section 8: a chunked body is incomplete until its last chunk has arrived, and a body with a Content-Length
until as many octets have. Section 6.3: the recipient must consider such a message incomplete and close the connection.
"""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import product

import pytest

from service.postgres.connect import connect
from tests.conftest import load_ledger, sql
from tests.support.door import ACCESS_LINE, FORM, JSON, TOKEN_FORM, Door, open_door
from tests.support.raw_http import RawReply, chunk, request_bytes

SILENCE_S, BODY_S = 1, 3
PATIENCE_S = 8  # of a reader that is left
CHUNKED = "Transfer-Encoding: chunked"


@dataclass(frozen=True)
class Form:
    """A body that is cut after content that would be complete by itself.

    Args:
        name: What is missing, and the section of RFC 9112 that requires it.
        framing: The header that frames the body; `{}` becomes the length of the content.
        content: The bytes; `%s` becomes the content, `%x` its length.
        is_garbage: Whether the framing itself is malformed, so that no more bytes can complete it.
    """

    name: str
    framing: str
    content: str
    is_garbage: bool = False


FORMS = [
    Form("no last chunk (7.1)", CHUNKED, "%x\r\n%s\r\n"),
    Form("no CRLF after the last chunk (7.1)", CHUNKED, "%x\r\n%s\r\n0\r\n"),
    Form("an unfinished trailer (7.1.2)", CHUNKED, "%x\r\n%s\r\n0\r\nA: b\r\n"),
    Form("no CRLF after a chunk (7.1)", CHUNKED, "%x\r\n%s"),
    Form("cut inside a chunk (7.1)", CHUNKED, "%X\r\n%s"),
    Form("cut inside a chunk size (7.1)", CHUNKED, "%x\r\n%s\r\n5"),
    Form("a chunk size that is no number (7.1)", CHUNKED, "%x\r\n%s\r\nxyz\r\n", True),
    Form("a negative chunk size (7.1)", CHUNKED, "%x\r\n%s\r\n-1\r\n", True),
    Form("a chunk size of 80 bits (7.1)", CHUNKED, "%x\r\n%s\r\nfffffffffffffffffffe\r\n", True),
    Form("a Content-Length that is 50 too large (6.3)", "Content-Length: {}", "%s"),
]
ENDINGS = ("close", "reset", "half-close", "silence")


@dataclass(frozen=True)
class Target:
    """A request that changes or reveals something when it is carried out."""

    name: str
    method: str
    path: str
    headers: dict[str, str]
    success: int

    def content(self, cents: int) -> bytes:
        """Return the body. An event's amount identifies the request in the ledger."""
        if self.name == "events":
            event = {"event_type": "fee", "post_date": "2020-03-01", "amt": f"{cents / 100:.2f}"}
            return json.dumps({"events": [event]}).encode()
        if self.name == "token":
            return TOKEN_FORM
        return json.dumps({"loan_ids": [1], "dates": ["2020-02-29"]}).encode()


TARGETS = {
    target.name: target
    for target in (
        Target("events", "POST", "/api/v1/loan/1/events", JSON, 201),
        Target("token", "POST", "/token", FORM, 200),
        Target("balances", "POST", "/api/v1/balances", JSON, 200),
        # RFC 9110, section 9.3.1: content of a GET has no meaning, but its framing counts as for any other request.
        Target("a GET with a body", "GET", "/api/v1/loan/1/2020-02-29", JSON, 200),
    )
}
TRANSPORTS = ("plain", "TLS")
CASES = list(product(TRANSPORTS, TARGETS, range(len(FORMS)), ENDINGS))
FIRST_CENTS = 10_001  # the amounts of the sample are smaller or larger


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Args:
        reply: What the client read; None if the connection ended without a reply or the client had left.
        is_ended: Whether the server ended the connection; None if the client had left.
        statuses: The statuses in the access log.
        is_posted: Whether its event is in the ledger.
    """

    reply: RawReply | None
    is_ended: bool | None
    statuses: tuple[int, ...]
    is_posted: bool


@pytest.fixture(scope="module")
def database(databases, tmp_path_factory):
    with databases.create() as settings:
        with closing(connect(settings, "posting")) as connection:
            load_ledger(connection, tmp_path_factory.mktemp("ledger"))
        yield settings


@pytest.fixture(scope="module")
def doors(database, keys_dir, tmp_path_factory):
    """One service for each transport, over the same ledger."""
    limits = {"SILENCE_TIMEOUT_S": str(SILENCE_S), "BODY_TIMEOUT_S": str(BODY_S)}
    with ExitStack() as stack:
        yield {
            "plain": stack.enter_context(open_door(database, keys_dir, **limits)),
            "TLS": stack.enter_context(open_door(database, keys_dir, tmp_path_factory.mktemp("tls"), **limits)),
        }


@pytest.fixture(scope="module")
def authorization(make_token):
    return {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}


def head_of(target: Target, framing: str, name: str, authorization: dict[str, str]) -> bytes:
    headers = {**target.headers, **({} if target.name == "token" else authorization), "X-Request-ID": name}
    return request_bytes(target.method, target.path, [*headers.items(), tuple(framing.split(": "))])


def send_cut(door: Door, data: bytes, ending: str) -> tuple[RawReply | None, bool | None]:
    """Send a cut request and end the connection in this way. Return the reply, and whether the server ended it."""
    with door.connect(timeout_s=PATIENCE_S) as connection:
        connection.send(data)
        if ending == "close":
            return None, None
        if ending == "reset":
            connection.reset()
            return None, None
        if ending == "half-close":
            connection.half_close()
        try:
            return connection.read_reply(), connection.is_ended(within_s=3)
        except TimeoutError:
            return None, False


@pytest.fixture(scope="module")
def outcomes(doors, database, authorization) -> dict[tuple, Outcome]:
    """The outcome of every case. All are sent before any is judged, so that late effects are seen."""

    def send(number: int) -> tuple[RawReply | None, bool | None]:
        transport, target_name, form_number, ending = CASES[number]
        target, form = TARGETS[target_name], FORMS[form_number]
        content = target.content(FIRST_CENTS + number)
        head = head_of(target, form.framing.format(len(content) + 50), f"cut-{number}", authorization)
        size = len(content) + (50 if "%X" in form.content else 0)
        body = form.content.replace("%x", f"{size:x}").replace("%X", f"{size:x}").replace("%s", content.decode())
        return send_cut(doors[transport], head + body.encode(), ending)

    with ThreadPoolExecutor(16) as pool:
        replies = list(pool.map(send, range(len(CASES))))
    time.sleep(1)  # for what the last ones cause
    logged: dict[str, list[int]] = {}
    for door in doors.values():
        door.get("/version", {"X-Request-ID": "end"})
        door.access_line("end")
        for name, *_, status in ACCESS_LINE.findall(door.read_log()):
            logged.setdefault(name, []).append(int(status))
    with closing(connect(database, "admin")) as connection:
        posted = {int(amount * 100) for (amount,) in sql(connection, "SELECT amt FROM loan_events")}
    return {
        case: Outcome(*replies[number], tuple(logged.get(f"cut-{number}", ())), FIRST_CENTS + number in posted)
        for number, case in enumerate(CASES)
    }


def described(case: tuple) -> str:
    transport, target, form, ending = case
    return f"{FORMS[form].name}, then {ending}: {target}, {transport}"


@pytest.mark.parametrize("case", CASES, ids=described)
def test_a_cut_request_is_not_carried_out(outcomes, case):
    _, _, number, ending = case
    outcome = outcomes[case]
    assert not outcome.is_posted
    assert all(status in (400, 408) for status in outcome.statuses), outcome
    if ending == "silence":
        # RFC 9110, section 15.5.9: 408 is for a request that was not complete within the time, with a close.
        assert outcome.reply is not None
        assert outcome.reply.status == (400 if FORMS[number].is_garbage else 408), outcome
        assert outcome.is_ended
    elif ending == "half-close":
        # RFC 9112, section 8: the server may send an error before it closes the connection.
        assert outcome.reply is None or outcome.reply.status == 400, outcome
        assert outcome.is_ended


def test_a_reader_that_is_left_gets_an_error(outcomes):
    """A half-closed connection still has a reader."""
    without = [described(case) for case, outcome in outcomes.items() if case[3] == "half-close" and not outcome.reply]
    assert without == []


WHOLE = list(product(TRANSPORTS, TARGETS, (CHUNKED, "Content-Length: {}")))


@pytest.mark.parametrize("case", WHOLE, ids=" ".join)
def test_the_same_request_is_carried_out_when_it_is_whole(doors, database, authorization, case):
    """The counterpart: the requests above lack nothing but their end."""
    transport, target_name, framing = case
    target, number = TARGETS[target_name], WHOLE.index(case)
    cents = FIRST_CENTS - 100 + number
    content = target.content(cents)
    body = chunk(content[:7]) + chunk(content[7:]) + b"0\r\n\r\n" if framing == CHUNKED else content
    head = head_of(target, framing.format(len(content)), f"whole-{number}", authorization)
    reply = doors[transport].send(head + body)
    assert reply is not None
    assert (reply.status, reply.is_whole) == (target.success, True), reply
    assert f" {target.success} " in doors[transport].access_line(f"whole-{number}")
    if target.name == "events":
        with closing(connect(database, "admin")) as connection:
            assert sql(connection, "SELECT count(*) FROM loan_events WHERE amt = %s", cents / 100) == [(1,)]
