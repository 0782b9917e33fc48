"""Metrics of one process, and of several together."""

import os
import re
import signal
import threading
import time
import urllib.request
from pathlib import Path

import psycopg2
import pytest
import requests
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from native import IMPLEMENTATION
from service import __version__
from service.errors import DatabaseUnavailable
from service.observability.lazy_gauge import LazyGauge
from service.postgres.pool import ConnectionPool
from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.fakes.vault.fake_vault import FakeVault, running
from tests.support.cleaner import remove
from tests.support.ports import free_port
from tests.support.processes import ask, reach, started, wait_until_up
from tests.support.waiting import wait_until

BALANCE = {"route": "/<loan_id>/<date>", "method": "GET", "status": "200"}


class Metrics:
    """Metrics parsed from Prometheus' text format."""

    def __init__(self, text: str) -> None:
        self.samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def value(self, name: str, **labels: str) -> float | None:
        found = [s.value for s in self.samples if s.name == f"loaner_{name}" and labels.items() == s.labels.items()]
        assert len(found) < 2
        return found[0] if found else None

    def count(self, **labels: str) -> float:
        return self.value("request_duration_seconds_count", **labels) or 0


def read_metrics(client) -> Metrics:
    reply = client.get("/metrics")
    assert (reply.status_code, reply.content_type) == (200, "text/plain; version=0.0.4; charset=utf-8")
    return Metrics(reply.text)


def scrape(url: str) -> Metrics:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as reply:
        return Metrics(reply.read().decode())


@pytest.fixture
def variables(served, tmp_path):
    """Variables of a service with two workers, which needs a gateway as well."""
    return {**reach(served.postgres), "KEYS_DIR": served.tokens.keys_dir, "LISTEN_HOST": "127.0.0.1",
            "PORT": str(free_port()), "WORKERS": "2", "DRAIN_S": "0", "TMPDIR": str(tmp_path)}  # fmt: skip


def test_requests_are_counted_by_route_method_and_status(client, bearer):
    before = read_metrics(client)
    for _ in range(3):
        assert client.get("/1/2020-02-29", headers=bearer).status_code == 200
    client.get("/1/2020-02-29")
    client.get("/api/v1/loan/1/tomorrow", headers=bearer)
    now = read_metrics(client)
    assert now.count(**BALANCE) - before.count(**BALANCE) == 3
    for route, status in (("/<loan_id>/<date>", "401"), ("/api/v1/loan/<loan_id>/<date>", "400"), ("/metrics", "200")):
        labels = {"route": route, "method": "GET", "status": status}
        assert now.count(**labels) - before.count(**labels) == 1


def test_labels_contain_nothing_that_a_client_sends(client, bearer):
    for path in (
        "/7654321/2020-01-01",
        "/secret-path/of/a/client",
        "/api/v1/loan/7654321",
        "/api/v1/swagger/secret-path",
    ):
        client.get(path, headers=bearer)
    client.open("/version", method="SECRETIVE")
    client.post("/token", json={"user": "secret-user", "pw": "secret-pw"})
    reply = client.get("/metrics")
    metrics = Metrics(reply.text)
    for method, status in (("GET", "404"), ("other", "405")):
        assert metrics.count(route="other", method=method, status=status) >= 1
    assert metrics.value("token_requests_total", outcome="invalid_client") >= 1
    own = "\n".join(line for line in reply.text.splitlines() if line.startswith("loaner_"))
    assert not re.search("7654321|secret|2020-", own, re.IGNORECASE)
    assert bearer["Authorization"].split(".")[-1] not in own


def test_the_release_and_the_age_of_the_signing_key_are_metrics(client, keys_dir):
    metrics = read_metrics(client)
    assert metrics.value("build_info", version=__version__, core=IMPLEMENTATION) == 1
    assert metrics.value("signing_key_created_timestamp_seconds") == int((keys_dir / "loaner").stat().st_mtime)


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "Via"])
def test_metrics_are_404_through_a_gateway(client, header):
    assert client.get("/metrics", headers={header: "x"}).status_code == 404


def test_connections_are_counted_after_successful_and_failed_reads(served):
    def counted() -> list[float]:
        names = ("", "_in_use", "_max")
        return [REGISTRY.get_sample_value(f"loaner_database_connections{name}") or 0 for name in names]

    def refusals(reason: str) -> float:
        return REGISTRY.get_sample_value("loaner_database_refusals_total", {"reason": reason}) or 0

    opened, in_use, maximum = counted()
    database = ConnectionPool(served.postgres.replace(pool_size=1, pool_timeout_s=0.05))
    with database._connections.take():
        assert counted() == [opened + 1, in_use + 1, maximum + 1]
        before = refusals("exhausted")
        with pytest.raises(DatabaseUnavailable):
            database.row("SELECT 1")
        assert refusals("exhausted") == before + 1
    with pytest.raises(psycopg2.ProgrammingError):
        database.row("SELECT nothing")
    assert counted() == [opened + 1, in_use, maximum + 1]
    before = refusals("broken")
    with pytest.raises(DatabaseUnavailable):
        database.row("SELECT pg_terminate_backend(pg_backend_pid())")
    assert refusals("broken") == before + 1
    database.close()
    assert counted()[:2] == [opened, in_use]
    before = refusals("down")
    unreachable = ConnectionPool(served.postgres.replace(port=1))
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            unreachable.row("SELECT 1")
    assert refusals("down") == before + 2
    assert counted()[:2] == [opened, in_use]


def test_a_gauge_appears_once_it_is_set_and_only_once_across_threads():
    gauge = LazyGauge("gauge_made_late", "For this test.", "livesum")
    assert REGISTRY.get_sample_value("gauge_made_late") is None
    threads = [threading.Thread(target=gauge.inc) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gauge.dec(3)
    assert REGISTRY.get_sample_value("gauge_made_late") == 17


def test_workers_are_aggregated_and_counts_of_a_dead_worker_remain(served, variables, bearer, tmp_path):
    url = f"http://127.0.0.1:{variables['PORT']}"
    pool = float(served.postgres.pool_size + served.postgres.posting_pool_size + 1)  # and one for portfolios

    def written() -> list[Path]:
        return list(tmp_path.glob("loaner-*/metrics/histogram_*.db"))

    with running_kong(FakeKong()) as kong, started(**variables, API_GATEWAY_URL=kong.url) as (process, output):
        wait_until_up(process, f"{url}/healthcheck", output)
        wait_until(lambda: scrape(url).value("database_connections_max") == 2 * pool)
        count = 0
        while len(written()) < 2 or count < 20:
            assert ask(f"{url}/1/2020-02-29", bearer)[0] == 200
            count += 1
            assert count < 1000, "one worker answers everything"
        wait_until(lambda: scrape(url).count(**BALANCE) == count)  # the other worker counts in batches
        assert scrape(url).value("database_connections") >= 1
        assert scrape(url).value("database_connections_in_use") == 0
        dead = re.search(r"\d+", written()[0].name)[0]
        os.kill(int(dead), signal.SIGKILL)
        wait_until(lambda: not list(tmp_path.glob(f"loaner-*/metrics/gauge_live*_{dead}.db")) or not answers(url))
        wait_until(lambda: answers(url) and scrape(url).value("database_connections_max") == 2 * pool)
        assert not list(tmp_path.glob(f"loaner-*/metrics/gauge_live*_{dead}.db"))
        assert scrape(url).count(**BALANCE) == count
        remove(next(tmp_path.glob("loaner-*")))
        for path in ("/version", "/token", "/nowhere"):  # routes and statuses without a counter so far
            assert requests.patch(f"{url}{path}", timeout=10).status_code in (404, 405)
        assert answers(url)


def answers(url: str) -> bool:
    """Return whether /metrics answers. Connections to a worker that has just died are lost."""
    try:
        scrape(url)
    except OSError:
        return False
    return True


def test_the_parent_reports_on_vault_and_the_gateway(served, variables):
    url = f"http://127.0.0.1:{variables['PORT']}"
    for name in ("PSQL_USER", "PSQL_PW"):
        del variables[name]
    variables |= {"VAULT_ROLE_ID": "app", "VAULT_SECRET_ID": "right-secret",
                  "SERVICE_DISCOVERY": "upstream", "GATEWAY_INTERVAL_S": "1"}  # fmt: skip
    with running(FakeVault(served.postgres, lease_s=3.0, max_s=6.0)) as vault, running_kong(FakeKong()) as kong:
        variables |= {"VAULT_ADDR": vault.url, "API_GATEWAY_URL": kong.url}
        with started(**variables) as (process, output):
            wait_until_up(process, f"{url}/healthcheck", output)
            wait_until(lambda: scrape(url).value("gateway_registered") == 1)
            wait_until(lambda: (scrape(url).value("vault_renewals_total", outcome="new") or 0) >= 2)
            assert scrape(url).value("vault_renewals_total", outcome="renewed") >= 1
            ends = scrape(url).value("vault_lease_expiry_timestamp_seconds")
            assert time.time() - 1 < ends < time.time() + 4
            vault.sealed = True
            kong.database_up = False
            wait_until(lambda: scrape(url).value("vault_renewals_total", outcome="failed"))
            wait_until(lambda: scrape(url).value("gateway_registered") == 0)
            vault.sealed = False
            kong.database_up = True
            wait_until(lambda: scrape(url).value("gateway_registered") == 1)


def test_invented_methods_use_no_memory(client):
    def series() -> int:
        return sum(s.name == "loaner_request_duration_seconds_count" for s in read_metrics(client).samples)

    series()  # counts itself from the second time on
    before = series()
    for number in range(50):
        assert client.open("/healthcheck", method=f"M{number}").status_code == 405
    assert series() <= before + 1
