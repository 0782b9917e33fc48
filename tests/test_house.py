"""The house: dependencies point one way, and the documents tell what there is."""

import ast
import re
from pathlib import Path

import pytest

from service.settings import Settings
from tests.conftest import ROOT

# Who may import whom; a package may always import itself.
ALLOWED = {
    "service": {"security", "native"},
    "service/gateway": {"service.net"},
    "security": set(),
    "native": set(),
    "microkubes": {"security", "service.gateway"},
    "deploy": {"service", "security"},
}
OURS = {"service", "security", "native", "microkubes", "deploy", "tests"}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def files(place: str) -> list[Path]:
    return sorted((ROOT / place).rglob("*.py"))


@pytest.mark.parametrize("place", sorted(ALLOWED))
def test_imports_point_one_way(place):
    package = place.replace("/", ".")
    for path in files(place):
        for module in imports(path):
            if module.split(".")[0] not in OURS or module == package or module.startswith(package + "."):
                continue
            assert any(module == ok or module.startswith(ok + ".") for ok in ALLOWED[place]), f"{path}: {module}"


@pytest.mark.parametrize(
    ("place", "library", "allowed"),
    [
        ("security", "flask", {"frameworks"}),
        ("security", "pydantic_settings", set()),
        ("native", "flask", set()),
        ("native", "psycopg2", set()),
        ("service/gateway", "flask", set()),
        ("service", "flask", {"web", "runtime"}),
    ],
)
def test_libraries_are_known_only_where_they_belong(place, library, allowed):
    knowing = {
        path.relative_to(ROOT / place).parts[0]
        for path in files(place)
        if any(module.split(".")[0] == library for module in imports(path))
    }
    assert knowing <= allowed


def test_importing_the_package_of_the_service_imports_nothing_heavy():
    assert imports(ROOT / "service" / "__init__.py") == set()


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
