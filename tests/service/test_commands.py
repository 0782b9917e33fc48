"""The commands for people, and the two ways of starting, as they are typed."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.gateway.stand_in import StandInKong, running


def environment(**changes: str) -> dict[str, str]:
    from service.settings import Settings

    names = {field.upper() for field in Settings.model_fields}
    return {**{name: value for name, value in os.environ.items() if name not in names}, **changes}


def reach(settings) -> dict[str, str]:
    """The environment that reaches the test's Postgres."""
    plain = {name.upper(): str(value) for name, value in settings if name.startswith("psql_") and value is not None}
    secret = {name: getattr(settings, name.lower()).get_secret_value() for name in plain if name.endswith("_PW")}
    return {**plain, **secret}


def run(*arguments: str, stdin: str = "", cwd: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(cwd / "service.py"), *arguments],
        cwd=cwd, env=environment(**variables), input=stdin, capture_output=True, text=True, timeout=90,
    )  # fmt: skip


def shell(command: str, cwd: Path) -> str:
    return subprocess.run(["bash", "-c", command], cwd=cwd, capture_output=True, text=True, check=True).stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def started(*arguments: str, cwd: Path = ROOT, **variables: str):
    """A running `python service.py`, asked to stop at the end and ended if it does not."""
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, str(cwd / "service.py"), *arguments],
            cwd=cwd, env=environment(**variables), stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

        def told() -> str:
            output.seek(0)
            return output.read()

        try:
            yield process, told
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()


def ask(url: str, headers: dict[str, str] | None = None) -> tuple[int, dict, dict]:
    """Status, headers and JSON of a GET."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=10) as reply:
            return reply.status, dict(reply.headers), json.load(reply)
    except urllib.error.HTTPError as err:
        with err:
            return err.code, dict(err.headers), json.load(err)


def wait_until_up(process: subprocess.Popen, url: str, told, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert process.poll() is None, told()
        try:
            ask(url)
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(f"not up after {seconds} s:\n{told()}")


def test_help_names_every_command():
    told = run("--help").stdout
    for command in ("--standalone", "demo", "load", "migrate", "sample"):
        assert command in told


def test_a_wrong_setting_is_one_line_and_a_status():
    done = run("migrate", PORT="http", TIMEZONE="Mars")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: PORT: ")
    assert "TIMEZONE" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_database_production_does_not_start():
    done = run()
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "PSQL_HOST is not set" in done.stderr


def test_a_gateway_that_is_nowhere_stops_the_start_within_its_bound():
    begun = time.monotonic()
    done = run(
        PSQL_HOST="127.0.0.1", API_GATEWAY_URL=f"http://127.0.0.1:{(port := free_port())}", GATEWAY_TIMEOUT_S="2"
    )
    assert time.monotonic() - begun < 15
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: API_GATEWAY_URL")
    assert f"http://127.0.0.1:{port}/: connection refused" in line


def test_registration_comes_before_keys_and_postgres(tmp_path):
    with running(StandInKong()) as kong:
        done = run(PSQL_HOST="127.0.0.1", PSQL_PORT="1", API_GATEWAY_URL=kong.url, KEYS_DIR=str(tmp_path / "none"))
        assert "loaner" in kong.routes
    assert done.returncode == 1
    assert "KEYS_DIR" in done.stderr.splitlines()[-1]


def test_postgres_that_is_not_there_stops_the_start(keys_dir):
    with running(StandInKong()) as kong:
        done = run(PSQL_HOST="127.0.0.1", PSQL_PORT="1", API_GATEWAY_URL=kong.url, KEYS_DIR=str(keys_dir))
    assert done.returncode == 1
    assert "Postgres at 127.0.0.1:1" in done.stderr.splitlines()[-1]


def test_a_port_that_is_taken_is_named(served):
    with socket.create_server(("127.0.0.1", 0)) as taken, running(StandInKong()) as kong:
        port = str(taken.getsockname()[1])
        done = run(**reach(served), API_GATEWAY_URL=kong.url, KEYS_DIR=served.keys_dir, PORT=port,
                   LISTEN_HOST="127.0.0.1")  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"Error: PORT: 127.0.0.1:{port} cannot be used")


def test_production_registers_serves_and_stops(served, bearer):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(StandInKong()) as kong:
        variables = {**reach(served), "API_GATEWAY_URL": kong.url, "KEYS_DIR": served.keys_dir, "PORT": str(port),
                     "WORKERS": "2", "LISTEN_HOST": "127.0.0.1", "SERVICE_HOST": "10.1.2.3"}  # fmt: skip
        with started(**variables) as (process, told):
            wait_until_up(process, f"{url}/healthcheck", told)
            assert (kong.services["loaner"]["host"], kong.services["loaner"]["port"]) == ("10.1.2.3", port)
            status, _, reply = ask(f"{url}/api/v1/loan/1/2020-02-29", bearer)
            assert (status, reply["balance"]) == (200, "899.50")
            status, headers, reply = ask(f"{url}/api/v1/loan/1/2020-02-29")
            assert (status, reply["code"]) == (401, 401)
            assert "bearer" in headers["www-authenticate"].lower()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert "registered loaner" in told()
            assert "Traceback" not in told()


def test_a_worker_that_dies_is_replaced(served, bearer):
    port = free_port()
    url = f"http://127.0.0.1:{port}/1/2020-02-29"
    with running(StandInKong()) as kong:
        variables = {**reach(served), "API_GATEWAY_URL": kong.url, "KEYS_DIR": served.keys_dir, "PORT": str(port),
                     "WORKERS": "1", "LISTEN_HOST": "127.0.0.1"}  # fmt: skip
        with started(**variables) as (process, told):
            wait_until_up(process, url, told)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
            os.kill(int(children[0]), signal.SIGKILL)
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    if ask(url, bearer)[0] == 200:
                        return
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.2)
            pytest.fail(told())


def test_files_are_loaded_from_the_command_line(settings, tmp_path):
    loans, events = tmp_path / "loans.csv", tmp_path / "events.csv"
    made = run("sample", str(loans), str(events), "--loans", "3", "--events-per-loan", "4")
    assert made.stdout.startswith("wrote 3 loans")
    done = run("load", str(loans), str(events), **reach(settings))
    assert (done.returncode, done.stdout) == (0, "loaded 3 loans and 12 events\n")
    again = run("load", str(loans), str(events), **reach(settings))
    assert again.returncode == 1
    assert "--again" in again.stderr
    events.write_text("1,fee,2020-02-30,1.00\n1,gift,2020-02-28,1.00\n")
    bad = run("load", str(loans), str(events), "--again", **reach(settings))
    assert bad.returncode == 1
    assert f"{events}:1: post_date: expected" in bad.stderr
    assert f"{events}:2: event_type: expected" in bad.stderr
    assert "nothing was loaded" in bad.stderr
    assert "Traceback" not in bad.stderr


def test_tables_are_migrated_from_the_command_line(settings):
    done = run("migrate", **reach(settings))
    assert (done.returncode, done.stdout) == (0, "the tables are up to date\n")


def test_the_demonstration_asks_answers_and_draws(served):
    done = run("demo", stdin="77\nabc\n1\n2020-02-30\n2020-02-29\n", **reach(served))
    assert done.returncode == 0, done.stderr
    assert "there is no loan 77" in done.stdout
    assert "'abc': expected a whole number" in done.stdout
    assert "'2020-02-30': expected a date that exists" in done.stdout
    assert "On 2020-02-29, loan 1 owed 899.50 USD." in done.stdout
    chart = done.stdout.rpartition("USD.")[2]
    assert "Loan 1, balance in USD" in chart
    assert "2019-12-05" in chart
    assert max(map(len, chart.splitlines())) <= 100


@pytest.mark.parametrize("answers", ["", "1\n", "x\n"])
def test_a_demonstration_whose_input_ends_early_ends_as_well(served, answers):
    done = run("demo", stdin=answers, **reach(served))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.fixture
def clone():
    """The project's files in a folder of their own, as a clone has them; with the core if it is built."""
    folder = Path(tempfile.mkdtemp(prefix="loaner-clone-"))
    folder.chmod(0o755)
    tracked = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    built = [str(path.relative_to(ROOT)) for path in (ROOT / "native").glob("*.so")]
    for name in tracked.stdout.split("\n") + built:
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    yield folder
    shutil.rmtree(folder)


def test_a_standalone_run_brings_everything_along_and_keeps_it(clone):
    port = free_port()
    url = f"http://localhost:{port}"
    variables = {"PORT": str(port), "WORKERS": "2"}
    with started("--standalone", cwd=clone, **variables) as (process, told):
        wait_until_up(process, f"{url}/healthcheck", told)
        assert "running standalone" in told()
        assert f"{url}/api/v1" in told()
        curl = re.search(r"curl -s -H '(Authorization: Bearer [^']+)' (\S+)", told())
        name, _, value = curl[1].partition(": ")
        status, _, reply = ask(curl[2], {name: value})
        assert status == 200
        assert re.fullmatch(r"\d+\.\d\d", reply["balance"])
        exported = subprocess.run(
            ["bash", "-c", "source .auth && echo $JWT"], cwd=clone, capture_output=True, text=True
        )
        assert value == f"Bearer {exported.stdout.strip()}"
        assert (clone / ".auth").stat().st_mode & 0o777 == 0o600
        assert (clone / "keys" / "loaner").stat().st_mode & 0o777 == 0o600
        second = run("--standalone", cwd=clone, **variables)
        assert second.returncode == 1
        assert "a standalone run is active" in second.stderr
        demo = run("demo", cwd=clone, stdin="\n\n")
        assert f"loan 1 owed {reply['balance']}" in demo.stdout, demo.stderr
        ignored = subprocess.run(
            ["git", "check-ignore", ".auth", "keys/loaner", ".local/x"], cwd=ROOT, capture_output=True
        )
        assert len(ignored.stdout.split()) == 3
        os.killpg(process.pid, signal.SIGKILL)  # no chance to clean up
        process.wait()
    begun = time.monotonic()
    with started("--standalone", cwd=clone, **variables) as (process, told):
        wait_until_up(process, f"{url}/healthcheck", told)
        assert time.monotonic() - begun < 30
        status, _, again = ask(curl[2], {name: value})
        assert (status, again) == (200, reply)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert "Traceback" not in told()
    assert not (clone / ".local" / "postgres" / "data" / "postmaster.pid").exists()
