"""A real Prometheus scrapes a running service, loads the rules, and answers every query of the dashboard."""

import json
import re
import shutil
import subprocess
import time
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from tests.conftest import ROOT
from tests.support.door import FORM, TOKEN_FORM, open_door
from tests.support.ports import free_port
from tests.support.raw_http import request_bytes

PROMETHEUS = shutil.which("prometheus")
FOLDER = ROOT / "deploy" / "monitoring"
PANELS = [panel for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"] if panel["type"] != "row"]
# What this service does not use, or what has not gone wrong.
WITHOUT_DATA = {
    "memcached errors", "Failures to listen", "Lost lines of the log and lost spans", "Failed queries",
    "Former primaries found", "Credentials from Vault end in", "Renewals of credentials", "Registered with the gateway",
    "Cached timelines that are not trusted", "Share of status 5xx",
}  # fmt: skip

READY = "rate(loaner_token_requests_total[30s]) > 0 and on () rate(loaner_timelines_total[30s])"

pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed: apt install prometheus")


class Prometheus:
    def __init__(self, url):
        self.url = url

    def ask(self, path, **query):
        with urlopen(f"{self.url}/api/v1/{path}?{urlencode(query)}", timeout=10) as reply:
            return json.load(reply)["data"]

    def value(self, query):
        return self.ask("query", query=query)["result"]


@pytest.fixture(scope="module")
def door(databases, keys_dir):
    with databases.create() as settings, open_door(settings, keys_dir) as door:
        yield door


@pytest.fixture(scope="module")
def prometheus(door, tmp_path_factory):
    folder = tmp_path_factory.mktemp("prometheus")
    target = {"job_name": "loaner", "static_configs": [{"targets": [f"127.0.0.1:{door.port}"]}]}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(FOLDER / "rules.yml")],
        "scrape_configs": [target],
    }
    (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML
    port = free_port()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(30)


def wait_for_samples(door, prometheus, headers):
    deadline = time.monotonic() + 60
    while True:
        door.get("/api/v1/loan/1/2020-02-29", headers)
        form = {**FORM, "Content-Length": str(len(TOKEN_FORM))}
        door.send(request_bytes("POST", "/token", form) + TOKEN_FORM)
        try:
            if prometheus.value(READY):
                return
        except OSError:
            pass  # it has not started
        assert time.monotonic() < deadline, "Prometheus has no samples"
        time.sleep(0.5)


def test_prometheus_answers_every_query_of_the_dashboard(door, prometheus, make_token):
    wait_for_samples(door, prometheus, {"Authorization": f"Bearer {make_token()}"})
    empty = set()
    for panel in PANELS:
        found = []
        for target in panel["targets"]:
            query = re.sub(r"\$(job|instance)\b", ".*", target["expr"]).replace("$__rate_interval", "30s")
            result = prometheus.value(query)
            shown = {re.sub(r"\{\{(\w+)\}\}", lambda m, s=s: s["metric"][m[1]], target["legendFormat"]) for s in result}
            assert len(shown) == len(result), f"{panel['title']}: series with the same legend"
            found += result
        if not found:
            empty.add(panel["title"])
    assert empty - WITHOUT_DATA == set()


def test_prometheus_loads_the_rules_and_no_alert_fires(prometheus):
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == (FOLDER / "rules.yml").read_text().count("expr:")
    assert {rule["health"] for rule in rules} == {"ok"}
    assert [rule["name"] for rule in rules if rule.get("state") == "firing"] == []
