"""The commands and the two ways to start the service, run as processes."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from security.keys.generation import write_key_pair
from tests.conftest import ROOT, sql
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.support.checkout import checkout
from tests.support.cleaner import remove
from tests.support.ports import free_port
from tests.support.processes import ask, environment, reach, run, shell, started, wait_until_up, workers
from tests.support.waiting import PATIENCE_S


def test_help_lists_the_commands():
    output = run("--help").stdout
    for command in ("--standalone", "demo", "load", "migrate", "sample"):
        assert command in output


def test_invalid_settings_are_one_line_and_status_1():
    done = run("migrate", PORT="http", TIMEZONE="Mars")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: PORT: ")
    assert "TIMEZONE" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_start_without_a_database_fails(keys_dir):
    with running(FakeKong()) as kong:
        done = run(API_GATEWAY_URL=kong.url, KEYS_DIR=str(keys_dir))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: PSQL_HOST is not set")


def test_a_start_without_a_gateway_fails_after_the_timeout():
    begun = time.monotonic()
    done = run(
        PSQL_HOST="127.0.0.1", API_GATEWAY_URL=f"http://127.0.0.1:{(port := free_port())}", GATEWAY_TIMEOUT_S="2"
    )
    assert time.monotonic() - begun < 15
    assert done.returncode == 1
    *_, line = done.stderr.splitlines()
    assert line.startswith("Error: API_GATEWAY_URL")
    assert f"http://127.0.0.1:{port}/: connection refused" in line


def test_the_start_registers_before_it_checks_keys_and_postgres(tmp_path):
    with running(FakeKong()) as kong:
        done = run(PSQL_HOST="127.0.0.1", PSQL_PORT="1", API_GATEWAY_URL=kong.url, KEYS_DIR=str(tmp_path / "none"))
        assert "loaner" in kong.routes
    assert done.returncode == 1
    assert "KEYS_DIR" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("loaner", "rubbish", "is not a private key"),
        ("loaner.pub", "other", "not the private half of loaner.pub"),
        ("odd.pub", "rubbish", "odd.pub"),
    ],
)
def test_an_unusable_key_stops_the_start(keys_dir, tmp_path, name, content, message):
    folder = tmp_path / "keys"
    shutil.copytree(keys_dir, folder)
    (folder / name).write_text((keys_dir / "default.pub").read_text() if content == "other" else content)
    with running(FakeKong()) as kong:
        done = run(PSQL_HOST="127.0.0.1", PSQL_PORT="1", API_GATEWAY_URL=kong.url, KEYS_DIR=str(folder),
                   PORT=str(free_port()))  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: KEYS_DIR: ")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_an_unreachable_postgres_stops_the_start(keys_dir):
    with running(FakeKong()) as kong:
        place = {"API_GATEWAY_URL": kong.url, "KEYS_DIR": str(keys_dir), "USE_VAULT": "false"}
        done = run(PSQL_HOST="127.0.0.1", PSQL_PORT="1", **place)
    assert done.returncode == 1
    assert "Postgres at 127.0.0.1:1" in done.stderr.splitlines()[-1]


def start_on(settings, keys_dir, **variables: str) -> subprocess.CompletedProcess[str]:
    with running(FakeKong()) as kong:
        return run(**reach(settings), API_GATEWAY_URL=kong.url, KEYS_DIR=str(keys_dir), **variables)


def test_a_port_in_use_is_named(settings, keys_dir):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = start_on(settings, keys_dir, PORT=port, LISTEN_HOST="127.0.0.1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"Error: PORT: cannot listen on 127.0.0.1:{port}")


def test_an_address_of_another_machine_is_rejected(settings, keys_dir):
    done = start_on(settings, keys_dir, LISTEN_HOST="192.0.2.1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: LISTEN_HOST: 192.0.2.1 is not an address of this machine"


@pytest.mark.parametrize(
    ("variables", "arguments", "message"),
    [
        ({"PSQL_HOST": "127.0.0.1", "LOANER_NATIVE": "fast"}, [], "LOANER_NATIVE: expected compiled or interpreted"),
        ({"LISTEN_HOST": "localhost"}, [], "LISTEN_HOST: expected an IP address"),
        ({"API_GATEWAY_URL": "http://a..b:x"}, [], "API_GATEWAY_URL: expected a URL"),
        ({"API_GATEWAY_URL": "http://kong:8001/?a=1"}, [], "API_GATEWAY_URL: expected a URL"),
        ({"PSQL_HOST": "127.0.0.1", "PSQL_PORT": "1", "PSQL_ADMIN_USER": "a"}, ["migrate"], "Connection refused"),
        ({}, ["load", "a.csv", "b.csv"], "PSQL_HOST is not set"),
        ({"PSQL_HOST": "db"}, ["load", "a.csv", "b.csv"], "PSQL_POSTING_USER is not set"),
    ],
)
def test_configuration_errors_are_one_line(variables, arguments, message):
    done = run(*arguments, **variables)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: ")
    assert message in line


def test_a_password_in_the_gateway_url_is_not_shown():
    url = f"http://admin:hunter2@127.0.0.1:{free_port()}"
    done = run(PSQL_HOST="127.0.0.1", API_GATEWAY_URL=url, GATEWAY_TIMEOUT_S="0.5", PORT=str(free_port()))
    assert done.returncode == 1
    assert "connection refused" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


@pytest.mark.parametrize("content", [b"\xff\xfe", b"PORT=\xe9\n"])
def test_a_settings_file_that_is_not_text_is_named(clone, content):
    (clone / ".env").write_bytes(content)
    done = run("migrate", cwd=clone)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: .env cannot be read: ")


@pytest.mark.parametrize("command", [["demo"], ["load", "{loans}", "{events}"]])
def test_missing_tables_are_one_line(settings, admin, tmp_path, command):
    for table in ("loan_events", "loans", "loaded_files"):
        sql(admin, f"DROP TABLE {table} CASCADE")
    files = {"loans": tmp_path / "l.csv", "events": tmp_path / "e.csv"}
    for file in files.values():
        file.touch()
    done = run(*[word.format(**files) for word in command], stdin="1\n2020-01-01\n", **reach(settings))
    assert done.returncode == 1
    assert "the tables do not exist; create them with: python service.py migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_loading_as_a_user_who_may_not_post_fails(settings, tmp_path):
    for name in ("l.csv", "e.csv"):
        (tmp_path / name).touch()
    variables = reach(settings)
    variables.update(PSQL_POSTING_USER=variables["PSQL_USER"], PSQL_POSTING_PW=variables["PSQL_PW"])
    done = run("load", str(tmp_path / "l.csv"), str(tmp_path / "e.csv"), **variables)
    assert done.returncode == 1
    assert "permission denied" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_production_start_registers_serves_and_stops(served, bearer):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with running(FakeKong()) as kong:
        variables = {**reach(served.postgres), "API_GATEWAY_URL": kong.url, "KEYS_DIR": served.tokens.keys_dir,
                     "PORT": str(port), "WORKERS": "2", "LISTEN_HOST": "127.0.0.1", "SERVICE_HOST": "10.1.2.3",
                     "DRAIN_S": "0"}  # fmt: skip
        with started(**variables) as (process, read_log):
            wait_until_up(process, f"{url}/healthcheck", read_log)
            assert (kong.services["loaner"]["host"], kong.services["loaner"]["port"]) == ("10.1.2.3", port)
            status, _, reply = ask(f"{url}/api/v1/loan/1/2020-02-29", bearer)
            assert (status, reply["balance"]) == (200, "899.50")
            status, headers, reply = ask(f"{url}/api/v1/loan/1/2020-02-29")
            assert (status, reply["code"]) == (401, 401)
            assert "bearer" in headers["www-authenticate"].lower()
            os.killpg(process.pid, signal.SIGTERM)  # as a service manager does
            assert process.wait(12) == 0  # workers that did not stop would be killed after 15 s
            assert "registered loaner" in read_log()
            assert "Traceback" not in read_log()


def test_a_dead_worker_is_replaced_although_files_became_unusable(served, bearer, tmp_path):
    keys = shutil.copytree(served.tokens.keys_dir, tmp_path / "keys")
    port = free_port()
    url = f"http://127.0.0.1:{port}/1/2020-02-29"
    with running(FakeKong()) as kong:
        variables = {**reach(served.postgres), "API_GATEWAY_URL": kong.url, "KEYS_DIR": str(keys), "PORT": str(port),
                     "WORKERS": "1", "LISTEN_HOST": "127.0.0.1",
                     "CLIENTS_FILE": str(tmp_path / "clients.json"), "TMPDIR": str(tmp_path / "tmp"),
                     "DRAIN_S": "0"}  # fmt: skip
        (tmp_path / "tmp").mkdir()
        with started(**variables) as (process, read_log):
            wait_until_up(process, url, read_log)
            [worker] = workers(process.pid)
            (keys / "half.pub").write_text("-----BEGIN")
            (tmp_path / "clients.json").write_text("{")
            remove(next((tmp_path / "tmp").glob("loaner-*")))
            os.kill(worker, signal.SIGKILL)
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline:
                try:
                    if ask(url, bearer)[0] == 200:
                        break
                except (urllib.error.URLError, ConnectionError):
                    time.sleep(0.2)
            assert "half.pub" in read_log()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0, read_log()


def test_load_posts_files_completely_or_not_at_all(settings, tmp_path):
    loans, events = tmp_path / "loans.csv", tmp_path / "events.csv"
    made = run("sample", str(loans), str(events), "--loans", "3", "--events-per-loan", "4", "--first-id", "901")
    assert made.stdout.startswith("wrote 3 loans")
    assert {line.partition(",")[0] for line in loans.read_text().splitlines()} == {"901", "902", "903"}
    done = run("load", str(loans), str(events), **reach(settings))
    recorded = "that were already recorded; refused 0 rows\n"
    assert (done.returncode, done.stdout) == (
        0, f"loaded 3 loans and 12 events; skipped 0 loans and 0 events {recorded}")  # fmt: skip
    again = run("load", str(loans), str(events), **reach(settings))
    assert again.returncode == 1
    assert f"Error: {events} was already loaded on" in again.stderr
    assert "--again" in again.stderr
    repeated = run("load", str(loans), str(events), "--again", **reach(settings))
    assert repeated.stdout == f"loaded 0 loans and 12 events; skipped 3 loans and 0 events {recorded}"
    events.write_text("901,fee,2020-02-30,1.00\n901,gift,2020-02-28,1.00\n")
    bad = run("load", str(loans), str(events), "--again", **reach(settings))
    assert bad.returncode == 1
    assert f"{events}:1: post_date: expected" in bad.stderr
    assert f"{events}:2: event_type: expected" in bad.stderr
    assert bad.stderr.endswith("Error: refused 2 rows with 2 errors; nothing was loaded\n")
    assert "Traceback" not in bad.stderr


def test_load_posts_terms_and_schedules(settings, posting, tmp_path):
    loans, events, schedules, terms = (str(tmp_path / f"{name}.csv") for name in ("l", "e", "s", "t"))
    made = run("sample", loans, events, schedules, "--loans", "3", "--events-per-loan", "0")
    assert made.stdout == f"wrote 3 loans to {loans}, 0 events to {events} and 3 schedules to {schedules}\n"
    Path(terms).write_text("1001,2020-06-01,0.05,ACT/360\n")
    for numbers in ("3 loans, 4 sets of terms, 3 schedules", "0 loans, 0 sets of terms, 0 schedules"):
        done = run("load", loans, events, schedules, "--terms", terms, "--as", "Ann", **reach(settings))
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"loaded {numbers} and 0 events; skipped ")
    assert "; skipped 3 loans, 4 sets of terms, 3 schedules and 0 events that were already recorded" in done.stdout
    for table, rows in (("loan_terms", 4), ("loan_schedules", 3)):
        assert sql(posting, f"SELECT posted_by, count(*) FROM {table} GROUP BY 1") == [("loaner_posting (Ann)", rows)]
    Path(schedules).write_text("1001,2020-06-01,2020-07-01,0\n")
    bad = run("load", loans, events, schedules, **reach(settings))
    assert bad.returncode == 1
    assert f"{schedules}:1: amt: expected an amount above zero" in bad.stderr


def test_overlapping_files_are_loaded_from_the_command_line(settings, posting, tmp_path):
    loans, events = tmp_path / "loans.csv", tmp_path / "events.csv"
    loans.write_text("loan_id,start_date,initial_amt,currency\n1,2019-12-05,1000,JPY\n")
    header = "loan_id,event_type,post_date,amt,source_id,reverses_source_id,memo\n"
    first = "1,payment,2020-02-01,10,A1,,\n1,payment,2020-02-09,10,A2,,\n"
    events.write_text(header + first)
    assert run("load", str(loans), str(events), "--as", "Ann", **reach(settings)).returncode == 0
    events.write_text(header + first + '1,payment,2020-02-15,10,A3,A2,"bounced, see A2"\n')
    done = run("load", str(loans), str(events), "--as", "Bob", **reach(settings))
    assert done.stdout == (
        "loaded 0 loans and 1 event; skipped 1 loan and 2 events that were already recorded; refused 0 rows\n"
    )
    assert sql(posting, "SELECT posted_by, memo FROM loan_events ORDER BY version DESC LIMIT 1") == [
        ("loaner_posting (Bob)", "bounced, see A2")
    ]
    assert run("load", str(loans), str(events), "--as", "", **reach(settings)).returncode == 2


def test_rows_that_break_a_rule_of_the_ledger_are_named_by_the_command(settings, admin, tmp_path):
    loans, events = tmp_path / "loans.csv", tmp_path / "events.csv"
    sql(admin, "SELECT close_period('2020-01-31', 'reported')")
    loans.write_text("loan_id,start_date,initial_amt,currency\n1,2020-02-01,0,JPY\n2,2020-02-01,0,USD\n")
    ahead = datetime.now(UTC).date() + timedelta(days=30)
    lines = [
        "loan_id,event_type,post_date,amt,source_id,reverses_source_id,memo",
        "1,fee,2020-02-01,1000.50,,,", "1,fee,2020-01-31,1,,,", f"1,fee,{ahead},1,,,", "1,fee,2020-02-01,1,,A9,",
        "1,fee,2020-02-01,1,,,=1+1", "1,fee,2020-02-01," + " " * 5000 + "1,,,",
        *["2,fee,2020-02-01,9999999999999999.99,,,"] * 10,
    ]  # fmt: skip
    events.write_text("\n".join(lines))
    done = run("load", str(loans), str(events), **reach(settings), MAX_FUTURE_DAYS="10", TIMEZONE="UTC")
    assert done.returncode == 1
    assert done.stderr.count(f"{events}:") == 7
    for reason in (
        "2: amt: expected at most 0 decimals (JPY), found '1000.50'",
        "3: post_date: expected a date after 2020-01-31, until which the ledger is closed",
        "4: post_date: expected a date up to ",
        "5: reverses_source_id: loan 1 has no event 'A9' in the ledger or in this file",
        "6: memo: expected a memo that does not begin with =",
        "7: row: the line is longer than 4096 bytes",
        "17: amt: the sum of the amounts of loan 2 would exceed what the ledger can store",
    ):
        assert f"{events}:{reason}" in done.stderr
    assert "Error: refused 7 rows with 7 errors; nothing was loaded" in done.stderr
    assert sql(admin, "SELECT count(*) FROM loans") == [(0,)]
    unlimited = "\n".join([lines[0], lines[3]])
    events.write_text(unlimited)
    done = run("load", str(loans), str(events), **reach(settings), MAX_FUTURE_DAYS="0")
    assert done.returncode == 0, done.stderr


def test_migrate_updates_the_tables(settings):
    done = run("migrate", **reach(settings))
    assert (done.returncode, done.stdout) == (0, "the tables are up to date\n")


def test_the_demo_prompts_answers_and_draws(served):
    done = run("demo", stdin="77\nabc\n1\n2020-02-30\n2020-02-29\n", **reach(served.postgres))
    assert done.returncode == 0, done.stderr
    assert "no such loan: 77" in done.stdout
    assert "'abc': expected a whole number" in done.stdout
    assert "'2020-02-30': expected a date that exists" in done.stdout
    assert "On 2020-02-29, loan 1 owed 899.50 USD." in done.stdout
    chart = done.stdout.rpartition("USD.")[2]
    assert "Loan 1, balance in USD" in chart
    assert "2019-12-05" in chart
    assert max(map(len, chart.splitlines())) <= 100


@pytest.mark.parametrize("answers", ["", "1\n", "x\n"])
def test_the_demo_ends_if_its_input_ends_early(served, answers):
    done = run("demo", stdin=answers, **reach(served.postgres))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.fixture
def clone():
    with checkout() as folder:
        yield folder


@pytest.fixture
def used_clone(clone, cluster_seed):
    """A clone with an existing PostgreSQL cluster, so that its start needs no `initdb`."""
    cluster_seed.copy_to(clone / ".local" / "postgres")
    return clone


def test_a_standalone_run_sets_up_everything_and_keeps_its_data(clone):
    port = free_port()
    url = f"http://localhost:{port}"
    variables = {"PORT": str(port), "WORKERS": "2"}
    with started("--standalone", cwd=clone, **variables) as (process, read_log):
        wait_until_up(process, f"{url}/healthcheck", read_log)
        assert "running standalone" in read_log()
        assert f"{url}/api/v1" in read_log()
        curl = re.search(r"curl -s -H '(Authorization: Bearer [^']+)' (\S+)", read_log())
        name, _, value = curl[1].partition(": ")
        status, _, reply = ask(curl[2], {name: value})
        assert status == 200
        assert re.fullmatch(r"\d+\.\d\d", reply["balance"])
        exported = subprocess.run(
            ["bash", "-c", "source .auth && echo $JWT"], cwd=clone, capture_output=True, text=True
        )
        assert value == f"Bearer {exported.stdout.strip()}"
        assert (clone / ".auth").stat().st_mode & 0o777 == 0o600
        [private] = [file for file in (clone / "keys").glob("loaner-*") if not file.suffix]
        assert private.stat().st_mode & 0o777 == 0o600
        second = run("--standalone", cwd=clone, KEYS_DIR=str(clone / "elsewhere"), **variables)
        assert second.returncode == 1
        assert f"a standalone service is already running in {clone} (process {process.pid})" in second.stderr
        assert not (clone / "elsewhere").exists()
        issued = shell(
            "source .auth && curl -s -d grant_type=client_credentials -u $CLIENT_ID:$SECRET $0/token", clone, url
        )
        assert ask(curl[2], {name: f"Bearer {json.loads(issued)['access_token']}"})[0] == 200
        demo = run("demo", cwd=clone, stdin="\n\n")
        assert f"loan 1 owed {reply['balance']}" in demo.stdout, demo.stderr
        ignored = subprocess.run(
            ["git", "check-ignore", ".auth", "keys/loaner", ".local/x"], cwd=ROOT, capture_output=True
        )
        assert len(ignored.stdout.split()) == 3
        section = (ROOT / "docs" / "reference" / "api.md").read_text().partition("\n## Posting\n")[2]
        posting = section.partition("```sh test\n")[2].partition("```")[0]
        command = posting.replace("http://localhost:5555", url)
        first, again = (json.loads(shell(command, clone)) for _ in range(2))
        assert first == again
        assert first["events"][0]["version"] == first["version"]
        _, _, reply = ask(f"{curl[2]}?min_version={first['version']}", {name: value})
        assert reply["version"] == first["version"]
        os.killpg(process.pid, signal.SIGKILL)  # no chance to clean up
        process.wait()
    begun = time.monotonic()
    with started("--standalone", cwd=clone, **variables) as (process, read_log):
        wait_until_up(process, f"{url}/healthcheck", read_log)
        assert time.monotonic() - begun < 30
        status, _, again = ask(curl[2], {name: value})
        assert (status, again) == (200, reply)
        begun = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C in a terminal does
        assert process.wait(30) == 0
        assert time.monotonic() - begun < 10
        assert "Traceback" not in read_log()
    assert not (clone / ".local" / "postgres" / "data" / "postmaster.pid").exists()


def test_the_last_command_that_uses_the_embedded_postgres_stops_it(used_clone):
    def demo() -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "service.py", "demo"], cwd=used_clone, env=environment(), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=0,
        )  # fmt: skip

    pid_file = used_clone / ".local" / "postgres" / "data" / "postmaster.pid"
    first = demo()
    assert first.stdout.read(10)  # it prompts, so its PostgreSQL is running
    second = demo()
    assert second.stdout.read(10)
    assert "loan 1 owed" in first.communicate("1\n2020-07-01\n", timeout=30)[0]
    assert pid_file.exists()
    assert "loan 2 owed" in second.communicate("2\n2020-07-01\n", timeout=30)[0]
    assert not pid_file.exists()


def test_closing_the_terminal_stops_a_standalone_run(used_clone):
    port = free_port()
    with started("--standalone", cwd=used_clone, PORT=str(port), WORKERS="1") as (process, read_log):
        wait_until_up(process, f"http://localhost:{port}/healthcheck", read_log)
        process.send_signal(signal.SIGHUP)
        assert process.wait(20) == 0
    assert not (used_clone / ".local" / "postgres" / "data" / "postmaster.pid").exists()


def test_an_incomplete_key_pair_is_kept_and_another_one_signs(used_clone):
    port = free_port()
    (used_clone / "keys").mkdir(exist_ok=True)
    write_key_pair(used_clone / "keys", "loaner")
    (used_clone / "keys" / "loaner.pub").unlink()
    with started("--standalone", cwd=used_clone, PORT=str(port), WORKERS="1") as (process, read_log):
        wait_until_up(process, f"http://localhost:{port}/healthcheck", read_log)
        token = shell("source .auth && echo $JWT", used_clone).strip()
        assert ask(f"http://localhost:{port}/1/2020-07-01", {"Authorization": f"Bearer {token}"})[0] == 200
        assert "loaner has no public key, so it does not sign" in read_log()
    assert (used_clone / "keys" / "loaner").exists()
