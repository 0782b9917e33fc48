"""The layers of the code hold, and the documents match the code."""

import re
import subprocess
import sys

from importlinter.cli import lint_imports

from service.settings import Settings
from tests.conftest import ROOT


def test_the_import_contracts_hold(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(no_cache=True) == 0


def test_importing_the_service_package_imports_nothing_else():
    code = "import service, sys; print(*(name for name in sys.modules if name.startswith('service.')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_setting_is_in_the_readme_and_no_other():
    table = (ROOT / "README.md").read_text().partition("## Settings")[2].partition("## For developers")[0]
    told = {name for row in re.findall(r"(?m)^\| (`[^|]+) \|", table) for name in re.findall(r"`([A-Z_]+)`", row)}
    assert told == {field.upper() for field in Settings.model_fields} | {"LOANER_NATIVE"}


def test_the_example_settings_are_settings():
    names = set(re.findall(r"(?m)^([A-Z_]+)=", (ROOT / ".env.example").read_text()))
    assert names <= {field.upper() for field in Settings.model_fields}


def test_every_route_is_in_the_readme(bare_app):
    table = (ROOT / "README.md").read_text().partition("## Endpoints")[2].partition("## Production")[0]
    for rule in bare_app.url_map.iter_rules():
        if rule.endpoint != "documentation.static":
            path = rule.rule.replace("<loan_id>", "<id>")
            assert re.search(rf"`(GET|POST) {re.escape(path)}`", table), rule.rule
