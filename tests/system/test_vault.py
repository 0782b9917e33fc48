"""A service with two workers whose credentials come from Vault."""

import os
import signal
import threading
import time

import pytest
import requests

from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.fakes.vault.fake_vault import FakeVault, running
from tests.integration.service.vault.test_lease import roles
from tests.support.ports import free_port
from tests.support.processes import ask, reach, run, started, wait_until_up, workers
from tests.support.waiting import wait_until


@pytest.fixture
def variables(served):
    """Settings of a service without passwords."""
    plain = {name: value for name, value in reach(served.postgres).items() if name not in ("PSQL_USER", "PSQL_PW")}
    return {**plain, "KEYS_DIR": served.tokens.keys_dir, "LISTEN_HOST": "127.0.0.1", "WORKERS": "2", "DRAIN_S": "0",
            "VAULT_ROLE_ID": "app", "VAULT_SECRET_ID": "right-secret"}  # fmt: skip


def test_credentials_rotate_under_load_despite_an_outage_and_a_killed_worker(
    served, variables, bearer, report_measurement
):
    port = free_port()
    url = f"http://127.0.0.1:{port}/1/2020-02-29"
    answers: list[int | str] = []
    stop = threading.Event()

    def call() -> None:
        while not stop.is_set():
            try:
                status, _, reply = ask(url, bearer)
                answers.append(status if status != 200 or reply["balance"] == "899.50" else "a wrong balance")
            except OSError:
                time.sleep(0.01)  # a connection to the killed worker

    with running(FakeVault(served.postgres, lease_s=3.0, max_s=6.0)) as vault, running_kong(FakeKong()) as kong:
        variables |= {"VAULT_ADDR": vault.url, "API_GATEWAY_URL": kong.url, "PORT": str(port)}
        with started(**variables) as (process, read_log):
            wait_until_up(process, url, read_log)
            callers = [threading.Thread(target=call) for _ in range(3)]
            for caller in callers:
                caller.start()
            time.sleep(3)
            vault.sealed = True
            time.sleep(1)
            vault.sealed = False
            os.kill(min(workers(process.pid)), signal.SIGKILL)
            wait_until(lambda: len(vault.made) >= 3)
            time.sleep(2)
            stop.set()
            for caller in callers:
                caller.join()
            assert roles(served.postgres)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, read_log()
            log = read_log()
        assert roles(served.postgres) == set()  # revoked
    assert set(answers) == {200}, {answer for answer in answers if answer != 200}
    assert len(answers) > 500
    assert "right-secret" not in log
    assert "Traceback" not in log
    report_measurement(
        f"Vault behind two workers: {len(answers)} requests with {len(vault.made)} users, an outage and a crash, "
        "none failed"
    )


def test_the_start_fails_with_one_line_if_vault_rejects_the_login(served, variables):
    with running(FakeVault(served.postgres)) as vault, running_kong(FakeKong()) as kong:
        place = {**variables, "VAULT_ADDR": vault.url, "API_GATEWAY_URL": kong.url, "PORT": str(free_port())}
        done = run(**{**place, "VAULT_SECRET_ID": "wrong-secret"})
        assert done.returncode == 1
        [line] = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        assert line.startswith(
            f"Error: Vault at {vault.url}: auth/approle/login as the AppRole app: invalid secret id;"
        )
        assert "lock a role after five refusals" in line
        assert vault.requests.count(("POST", "/v1/auth/approle/login")) == 1
        done = run(**{name: value for name, value in place.items() if name != "VAULT_ROLE_ID"})
        assert "VAULT_TOKEN is not set" in done.stderr
        assert "USE_VAULT=false" in done.stderr


def test_posting_credentials_come_from_a_separate_role_and_rotate(served, variables, make_token, report_measurement):
    port = free_port()
    headers = {"Authorization": f"Bearer {make_token(scopes='api:read api:write')}"}
    event = {"event_type": "fee", "post_date": "2020-03-02", "amt": "1.00"}
    statuses = []
    with running(FakeVault(served.postgres, lease_s=3.0, max_s=5.0)) as vault, running_kong(FakeKong()) as kong:
        plain = {name: value for name, value in variables.items() if not name.startswith("PSQL_POSTING")}
        place = {**plain, "VAULT_ADDR": vault.url, "API_GATEWAY_URL": kong.url, "PORT": str(port),
                 "VAULT_POSTING_ROLE": "posting"}  # fmt: skip
        with started(**place) as (process, read_log), requests.Session() as session:
            wait_until_up(process, f"http://127.0.0.1:{port}/healthcheck", read_log)
            begun = time.monotonic()
            while time.monotonic() - begun < 12:
                reply = session.post(f"http://127.0.0.1:{port}/api/v1/loan/1/events", json={"events": [event]},
                                     headers=headers, timeout=10)  # fmt: skip
                statuses.append(reply.status_code)
                time.sleep(0.05)
            posters = {user for user in vault.made if user.startswith("v-approle-posting")}
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, read_log()
    assert set(statuses) == {201}, read_log()
    assert len(posters) >= 2
    assert roles(served.postgres) == set()
    report_measurement(f"{len(statuses)} postings as {len(posters)} users of a Vault role, none failed")
