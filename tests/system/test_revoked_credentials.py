"""All database credentials are revoked under load, as after a leak. No request is refused.

Vault drops the users while pooled connections of them are open. In the second case their connections are terminated,
too, as a stricter revocation statement does.
"""

import threading
import time
from contextlib import closing

import pytest
import requests

from service.postgres.connect import connect
from tests.conftest import sql
from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.fakes.vault.fake_vault import FakeVault, running
from tests.support import load_clients
from tests.support.ports import free_port
from tests.support.processes import reach, started, wait_until_up

REVOCATIONS = 4
PAUSE_S = 2.5
EVENT = {"event_type": "fee", "post_date": "2020-03-02", "amt": "1.00"}
END_SESSIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name ~ '^loaner (reader|posting)'"
)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("sessions", ["stay open", "are terminated"])
def test_no_request_is_refused_while_all_credentials_are_revoked(served, make_token, sessions, report_measurement):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}
    reads: list[tuple[int, float]] = []
    posts: list[tuple[int, str]] = []
    stop = threading.Event()

    def read() -> None:
        with requests.Session() as session:
            while not stop.wait(load_clients.PAUSE_S):
                began = time.monotonic()
                reply = session.get(f"{url}/api/v1/loan/1/2020-02-29", headers=headers, timeout=20)
                reads.append((reply.status_code, time.monotonic() - began))

    def post() -> None:
        with requests.Session() as session:
            while not stop.wait(0.05):
                reply = session.post(
                    f"{url}/api/v1/loan/2/events", json={"events": [EVENT]}, headers=headers, timeout=20
                )
                posts.append((reply.status_code, reply.json().get("type", "")))

    plain = {
        name: value
        for name, value in reach(served.postgres).items()
        if name not in ("PSQL_USER", "PSQL_PW") and not name.startswith("PSQL_POSTING")
    }
    with running(FakeVault(served.postgres, lease_s=600, max_s=3600)) as vault, running_kong(FakeKong()) as kong:
        variables = {
            **plain, "KEYS_DIR": served.tokens.keys_dir, "LISTEN_HOST": "127.0.0.1", "PORT": str(port), "WORKERS": "2",
            "DRAIN_S": "0", "VAULT_ADDR": vault.url, "API_GATEWAY_URL": kong.url, "VAULT_ROLE_ID": "app",
            "VAULT_SECRET_ID": "right-secret", "VAULT_POSTING_ROLE": "posting",
            "MAX_STALENESS_S": "0",  # nothing is cached, so each request needs Postgres
        }  # fmt: skip
        with started(**variables) as (process, read_log), closing(connect(served.postgres, "admin")) as admin:
            wait_until_up(process, f"{url}/healthcheck", read_log)
            callers = [threading.Thread(target=caller) for caller in (read, read, read, post)]
            for caller in callers:
                caller.start()
            time.sleep(PAUSE_S)
            readiness = set()
            for _ in range(REVOCATIONS):
                vault.revoke_prefix("database/creds/")
                if sessions == "are terminated":
                    assert sql(admin, END_SESSIONS)[0][0] > 0
                began = time.monotonic()
                while time.monotonic() < began + PAUSE_S:
                    readiness.add(requests.get(f"{url}/ready", timeout=20).status_code)
                    time.sleep(0.05)
            stop.set()
            for caller in callers:
                caller.join()
            counted = _vault_metrics(url)
            log = read_log()
    refused = [took for status, took in reads if status != 200]
    # A posting whose connection is terminated before the reply may have been made: that is said, not repeated.
    broken = [answer for answer in posts if answer[0] != 201 and answer != (503, "urn:loaner:problem:outcome-unknown")]
    rejections = log.count("; requesting new ones from Vault")
    report_measurement(
        f"credentials revoked {REVOCATIONS} times, sessions {sessions}: {len(reads)} uncached reads, {len(refused)} "
        f"refused, the longest {max(took for _, took in reads):.2f} s; {len(posts)} postings, {len(broken)} refused, "
        f"{sum(status != 201 for status, _ in posts)} with unknown outcome; /ready {readiness}; log: {rejections} "
        f"rejections; metrics: {counted}"
    )
    assert refused == []
    assert broken == []
    assert readiness == {200}
    assert rejections >= 2 * REVOCATIONS - 1  # of the roles that read and post
    assert "Traceback" not in log
    assert len(vault.made) >= 2 * REVOCATIONS


def _vault_metrics(url):
    lines = requests.get(f"{url}/metrics", timeout=20).text.splitlines()
    return [line for line in lines if line.startswith(("loaner_vault_renewals", "loaner_database_refusals"))]
