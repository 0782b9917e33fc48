"""A killed primary starts again after its replica was promoted: nobody stopped it for good.

The service neither posts to it nor reads from it: not while it runs, not after its own restart, and not without the
promoted server. For each phase the test reports what /ready, the log and the metrics said.
"""

import time
from contextlib import closing

import pytest
import requests

from service.postgres.connect import connect
from tests.conftest import sql
from tests.fakes.replica import primary_of_its_own, reaching, replica_of
from tests.support.processes import serving

LOAN = 1
EVENT = {"event_type": "fee", "post_date": "2020-03-02", "amt": "1.00"}
VERSION = f"SELECT version FROM loans WHERE loan_id = {LOAN}"
MAX_STALENESS_S = 1
FOUND_S = 20  # a survey every 5 s, on a busy machine
TOGETHER_S = 8  # longer than the 5 s between two surveys


class Caller:
    """Posts to a service and reads from it."""

    def __init__(self, url, headers, read_log, report):
        self.url, self.headers, self.read_log, self._report = url, headers, read_log, report

    def post(self):
        """Post an event. Return the status, and the loan's new version."""
        url = f"{self.url}/api/v1/loan/{LOAN}/events"
        reply = requests.post(url, json={"events": [EVENT]}, headers=self.headers, timeout=20)
        return reply.status_code, reply.json().get("version")

    def read(self):
        """Read the balance. Return the status, and the balance."""
        reply = requests.get(f"{self.url}/api/v1/loan/{LOAN}/2020-07-01", headers=self.headers, timeout=20)
        return reply.status_code, reply.json().get("balance")

    def post_until_accepted(self):
        deadline = time.monotonic() + FOUND_S
        while (found := self.post())[0] != 201:
            assert found[0] == 503
            assert time.monotonic() < deadline
            time.sleep(0.2)
        return found[1]

    def ready(self):
        reply = requests.get(f"{self.url}/ready", timeout=20)
        return reply.status_code, reply.json()

    def count(self):
        """Return how often a former primary was found."""
        reply = requests.get(f"{self.url}/metrics", timeout=20)
        assert reply.status_code == 200
        found = [line for line in reply.text.splitlines() if line.startswith("loaner_former_primary_total{")]
        return sum(float(line.split()[-1]) for line in found)

    def report(self, phase):
        status, reply = self.ready()
        said = [line for line in self.read_log().splitlines() if "split brain" in line]
        self._report(
            f"{phase}: /ready {status} {reply.get('faults', reply.get('message'))}; "
            f"loaner_former_primary_total {self.count():.0f}; {len(said)} log entries, the last: {said[-1]}"
        )


@pytest.mark.timeout(240)
@pytest.mark.parametrize("order", ["former primary first", "promoted server first"])
def test_a_former_primary_that_returns_gets_no_posting_and_no_read(order, keys_dir, make_token, report_measurement):
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}
    with primary_of_its_own() as primary, replica_of(primary) as replica:
        servers = (primary, replica) if order == "former primary first" else (replica, primary)
        settings = reaching(*servers)
        with closing(connect(settings, "posting")) as connection:
            sql(connection, "SELECT create_loans('{1}', '{2020-01-01}', '{100}', '{USD}')")
        replica.catch_up()
        sentence = (
            f"127.0.0.1:{primary.port} is a former primary: it writes WAL timeline 1, "
            f"but WAL timeline 2 was seen at 127.0.0.1:{replica.port}"
        )
        variables = {"MAX_STALENESS_S": str(MAX_STALENESS_S)}
        with serving(settings, keys_dir, **variables) as (url, read_log):
            caller = Caller(url, headers, read_log, report_measurement)
            assert caller.post() == (201, 1)
            replica.catch_up()
            assert caller.ready()[1]["faults"] == []
            primary.stop("immediate")
            replica.promote()
            version = caller.post_until_accepted()
            assert version >= 2

            primary.start_again()
            before = int(str(primary.ask(VERSION)))
            version = _post_for(caller, TOGETHER_S, version)
            assert caller.ready() == (200, {**caller.ready()[1], "database": "ok", "faults": [sentence]})
            assert caller.count() > 0
            assert f"split brain: {sentence}. It is not used." in read_log()
            caller.report(f"{order}, both run")

        with serving(settings, keys_dir, **variables) as (url, read_log):  # restarted
            caller = Caller(url, headers, read_log, report_measurement)
            version = _post_for(caller, 1, version)
            assert f"split brain: {sentence}" in read_log()
            assert caller.ready()[1]["faults"] == [sentence]
            caller.report(f"{order}, restarted")

            replica.stop("immediate")
            deadline = time.monotonic() + TOGETHER_S
            statuses = set()
            while time.monotonic() < deadline:
                statuses.add(caller.post()[0])
                time.sleep(0.1)
            statuses.add(caller.read()[0])  # cached balances are too old by now
            assert statuses == {503}
            status, reply = caller.ready()
            assert (status, sentence in reply["message"]) == (503, True)
            caller.report(f"{order}, without the promoted server")
            replica.start_again()
            accepted = [caller.post_until_accepted() for _ in range(10)]  # by both workers
            version = accepted[-1]
            log = read_log()
        assert "Traceback" not in log
        assert primary.ask(VERSION) == before
        assert replica.ask(VERSION) == version


@pytest.mark.timeout(120)
def test_a_promotion_is_noticed_while_the_former_primary_keeps_running(keys_dir, make_token, report_measurement):
    """All connections to the former primary stay open, so only the survey of the hosts can notice it."""
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}
    with primary_of_its_own() as primary, replica_of(primary) as replica:
        settings = reaching(primary, replica)
        with closing(connect(settings, "posting")) as connection:
            sql(connection, "SELECT create_loans('{1}', '{2020-01-01}', '{100}', '{USD}')")
        with serving(settings, keys_dir) as (url, read_log):
            caller = Caller(url, headers, read_log, report_measurement)
            for _ in range(20):
                assert caller.post()[0] == 201  # both workers have connections
            replica.catch_up()
            replica.promote()
            promoted = time.monotonic()
            former = promoted
            posted, before = int(str(replica.ask(VERSION))), int(str(primary.ask(VERSION)))
            while time.monotonic() < promoted + FOUND_S + TOGETHER_S:
                status, _ = caller.post()
                assert status in (201, 503)
                if int(str(primary.ask(VERSION))) > before:
                    before, former = int(str(primary.ask(VERSION))), time.monotonic()
                elif status == 201:
                    posted += 1
                    assert replica.ask(VERSION) == posted
                time.sleep(0.1)
            log = read_log()
    assert former - promoted < FOUND_S
    assert posted > 20
    assert "split brain" in log
    assert "Traceback" not in log
    report_measurement(
        f"promoted without a failure: the former primary took its last posting {former - promoted:.1f} s later; then "
        f"{posted - 20} postings, all to the promoted server"
    )


def _post_for(caller, seconds, version):
    """Post and read for a time, at least twice. Return the last version.

    A connection may take too long on a busy machine, so some replies may be 503. Accepted postings continue the
    versions, and in the end the balance includes them.
    """
    deadline = time.monotonic() + seconds
    accepted, unavailable = 0, 0
    while accepted < 2 or time.monotonic() < deadline:
        assert time.monotonic() < deadline + FOUND_S
        status, posted = caller.post()
        if status == 201:
            assert posted > version
            version, accepted = posted, accepted + 1
        unavailable += (status, caller.read()[0]).count(503)
        time.sleep(0.1)
    assert unavailable <= 2 + accepted / 5
    time.sleep(2 * MAX_STALENESS_S)
    while (found := caller.read())[0] == 503:
        assert time.monotonic() < deadline + FOUND_S
    assert found == (200, f"{100 + version}.00")
    return version
