"""The dashboard and the rules name metrics that exist and are documented, and each alert has a runbook."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from service.observability import metrics, processes
from service.observability.batched_counter import BatchedCounter
from service.observability.batched_histogram import BatchedHistogram
from service.observability.lazy_gauge import LazyGauge
from tests.conftest import ROOT
from tests.deploy.chart import one, rendered

FOLDER = ROOT / "deploy" / "monitoring"
RULES = [rule for group in yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PANELS = [panel for panel in json.loads((FOLDER / "dashboard.json").read_text())["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
GUIDE = (ROOT / "docs" / "guides" / "monitoring.md").read_text()
REFERENCE = (ROOT / "docs" / "reference" / "metrics.md").read_text()
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: apt install prometheus")


def exported():
    """Return the names of the series that the service exports."""
    names = {processes.CONNECTIONS}
    for metric in vars(metrics).values():
        if isinstance(metric, LazyGauge):
            names.add(metric._name)
        elif isinstance(metric, BatchedCounter | BatchedHistogram | metrics.Counter | metrics.Gauge):
            inner = getattr(metric, "_counter", None) or getattr(metric, "_histogram", metric)
            [described] = inner.describe()
            suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
            names.update(described.name + suffix for suffix in suffixes.get(described.type, ("",)))
    samples = [sample for metric in processes._read("self") for sample in metric.samples]
    assert samples, "this system has no /proc"
    return names | {sample.name for sample in samples}


def named(expression):
    """Return the names of metrics and of recorded series in an expression."""
    without_texts = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]', "", expression)
    return set(re.findall(r"\b(?:loaner|process)_\w+|\b\w+:\w+:\w+|\bjob:\w+\b", without_texts))


@pytest.mark.parametrize("expression", [rule["expr"] for rule in RULES] + QUERIES)
def test_every_query_names_existing_metrics(expression):
    names = named(expression)
    assert names
    assert names <= exported() | RECORDED


def test_a_name_that_does_not_exist_is_found():
    assert named('rate(loaner_nothing_total{job="a"}[5m])') == {"loaner_nothing_total"}
    assert "loaner_nothing_total" not in exported()


def test_the_reference_lists_exactly_the_exported_metrics():
    documented = set(re.findall(r"^\| `(\w+)` \| (?:gauge|counter|histogram) \|", REFERENCE, re.MULTILINE))
    families = {re.sub(r"(?<=_seconds)_(bucket|count|sum)$", "", name) for name in exported()}
    assert documented == families


def test_every_metric_is_on_the_dashboard_or_in_an_alert():
    used = set().union(*map(named, [rule["expr"] for rule in RULES] + QUERIES))
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in used}
    left_out = {"process_virtual_memory_bytes"}  # says nothing about the memory that is used
    assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported()} - families == left_out


def test_each_alert_has_a_section_of_the_guide():
    headings = re.findall(r"^### (\w+)$", GUIDE, re.MULTILINE)
    assert headings == [alert["alert"] for alert in ALERTS]
    for alert in ALERTS:
        assert alert["annotations"]["runbook_url"] == f"docs/guides/monitoring.md#{alert['alert'].lower()}"
        assert alert["labels"]["severity"] in ("critical", "warning", "info")


def test_the_chart_creates_the_same_rules_on_request():
    def rules(**values):
        return [m for m in rendered({"metrics": {"prometheusRule": values}}) if m["kind"] == "PrometheusRule"]

    assert rules(enabled=False) == []
    [_] = rules(enabled=True)
    manifests = rendered(
        {"metrics": {"prometheusRule": {"enabled": True, "runbook": "https://a.test/x", "labels": {"a": "b"}}}}
    )
    rule = one(manifests, "PrometheusRule")
    assert rule["metadata"]["labels"]["a"] == "b"
    text = (FOLDER / "rules.yml").read_text().replace("docs/guides/monitoring.md", "https://a.test/x")
    assert rule["spec"] == yaml.safe_load(text)


@needs_promtool
def test_promtool_accepts_the_rules():
    done = subprocess.run([PROMTOOL, "check", "rules", FOLDER / "rules.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(RULES)} rules found" in done.stdout


@needs_promtool
def test_each_alert_fires_when_it_should_and_only_then():
    done = subprocess.run([PROMTOOL, "test", "rules", FOLDER / "rules_test.yml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    tested = set(re.findall(r'alertname="(\w+)"', (FOLDER / "rules_test.yml").read_text()))
    assert tested == {alert["alert"] for alert in ALERTS}


@needs_promtool
@pytest.mark.parametrize(
    ("change", "noticed_by"),
    [
        (("> 0.01", "> 2"), "everything fails"),
        (("== 0\n", "== 1\n"), "everything is well"),
        ((" unless ", " and "), "everything is well"),
    ],
)
def test_the_test_of_the_rules_notices_a_wrong_rule(tmp_path, change, noticed_by):
    text = (FOLDER / "rules.yml").read_text()
    assert change[0] in text
    (tmp_path / "rules.yml").write_text(text.replace(*change))
    tests = yaml.safe_load((FOLDER / "rules_test.yml").read_text())
    tests["tests"] = [test for test in tests["tests"] if test["name"] == noticed_by]  # each takes seconds
    assert len(tests["tests"]) == 1
    (tmp_path / "rules_test.yml").write_text(yaml.safe_dump(tests))
    done = subprocess.run([PROMTOOL, "test", "rules", tmp_path / "rules_test.yml"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "exp:" in done.stderr  # other alerts than expected, rather than a file that cannot be read
    assert done.returncode != 0
