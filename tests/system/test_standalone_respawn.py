"""A standalone service starts its PostgreSQL again when it is killed, and stops when that does not help."""

import os
import signal
import time
import urllib.error
from pathlib import Path

import pytest

from service.standalone.respawn import CHECK_INTERVAL_S, MAX_RESTARTS
from tests.support.checkout import checkout
from tests.support.ports import free_port
from tests.support.processes import ask, shell, started, wait_until_up
from tests.support.waiting import wait_until

RESTART_TIMEOUT_S = 60.0


@pytest.fixture
def clone(cluster_seed):
    with checkout() as folder:
        cluster_seed.copy_to(folder / ".local" / "postgres")
        yield folder


def data_folder(clone: Path) -> Path:
    return clone / ".local" / "postgres" / "data"


def kill_postgres(clone: Path) -> None:
    """Kill the server once it accepts connections."""
    pid_file = data_folder(clone) / "postmaster.pid"

    def lines() -> list[str]:
        return pid_file.read_text().split() if pid_file.exists() else []

    wait_until(lambda: lines()[-1:] == ["ready"], RESTART_TIMEOUT_S, 0.1)
    os.kill(int(lines()[0]), signal.SIGKILL)


@pytest.mark.timeout(240)
def test_a_killed_postgres_is_started_again_until_it_keeps_ending(clone):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with started("--standalone", cwd=clone, PORT=str(port), WORKERS="1") as (process, read_log):
        wait_until_up(process, f"{url}/healthcheck", read_log)
        headers = {"Authorization": f"Bearer {shell('source .auth && echo $JWT', clone).strip()}"}

        def balance(date: str) -> tuple[int, object]:
            """Return the status and balance of a date. The cached timeline of a loan needs a fresh look at Postgres."""
            try:
                status, _, reply = ask(f"{url}/api/v1/loan/1/{date}", headers)
            except (urllib.error.URLError, ConnectionError):
                return 0, None
            return status, reply.get("balance")

        before = balance("2020-07-01")
        assert before[0] == 200
        for count in range(1, MAX_RESTARTS + 1):
            kill_postgres(clone)
            wait_until(lambda: read_log().count("PostgreSQL runs again") == count, RESTART_TIMEOUT_S, 0.1)  # noqa: B023
            wait_until(lambda: balance("2020-07-01") == before, RESTART_TIMEOUT_S, 0.1)
        assert process.poll() is None
        kill_postgres(clone)
        assert process.wait(RESTART_TIMEOUT_S) == 1
        assert f"Error: PostgreSQL ended {MAX_RESTARTS + 1} times within 60 s; its log ends with:" in read_log()
        assert "Traceback" not in read_log()


@pytest.mark.timeout(120)
def test_lost_data_end_the_run_and_are_not_replaced_by_an_empty_database(clone):
    port = free_port()
    with started("--standalone", cwd=clone, PORT=str(port), WORKERS="1") as (process, read_log):
        wait_until_up(process, f"http://127.0.0.1:{port}/healthcheck", read_log)
        data = data_folder(clone)
        pid = int((data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGSTOP)  # a stopped server is slow, and is not replaced
        time.sleep(4 * CHECK_INTERVAL_S)
        assert "PostgreSQL has ended" not in read_log()
        data.rename(data.with_name("moved"))
        os.kill(pid, signal.SIGKILL)
        assert process.wait(RESTART_TIMEOUT_S) == 1
        assert f"Error: the data of PostgreSQL in {data} is gone" in read_log()
        assert not data.exists()
