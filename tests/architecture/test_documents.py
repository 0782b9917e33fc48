"""The documents match the code."""

import re

import pytest

from docs.settings_reference import REFERENCE, render
from service import __version__
from service.settings import all_settings
from service.web.page.paths import PAGE
from tests.architecture.word_list import tracked_files
from tests.conftest import ROOT

MARKDOWN = {str(path.relative_to(ROOT)): path for path in tracked_files(ROOT, "*.md")}


def test_the_settings_reference_is_generated():
    assert REFERENCE.read_text(encoding="utf-8") == render(), "run `make docs`"


def test_the_settings_reference_lists_every_setting_once():
    listed = re.findall(r"(?m)^\| `([A-Z_]+)` \|", REFERENCE.read_text(encoding="utf-8"))
    assert sorted(listed) == sorted([*(name for name, *_ in all_settings()), "LOANER_NATIVE"])


def test_every_setting_has_a_description():
    assert not [name for name, field, _ in all_settings() if not field.description]


def test_the_example_settings_are_settings():
    names = set(re.findall(r"(?m)^(?:# )?([A-Z_]+)=", (ROOT / ".env.example").read_text()))
    assert names <= {name for name, *_ in all_settings()}


def test_every_route_is_in_the_api_reference(bare_app):
    document = (ROOT / "docs" / "reference" / "api.md").read_text()
    table = document.partition("\n## Endpoints\n")[2].partition("\n## ")[0]
    for rule in bare_app.url_map.iter_rules():
        if rule.endpoint != "documentation.static" and not rule.rule.startswith(f"{PAGE}/"):
            path = rule.rule.replace("<loan_id>", "<id>")
            assert re.search(rf"`(GET|POST) {re.escape(path)}`", table), rule.rule


def test_the_changelog_describes_this_version():
    assert re.search(rf"(?m)^## {re.escape(__version__)} - \d{{4}}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text())


@pytest.mark.parametrize("name", MARKDOWN)
def test_image_tags_in_documents_name_this_version(name):
    assert set(re.findall(r"loaner:(\d+\.\d+\.\d+)", MARKDOWN[name].read_text())) <= {__version__}


@pytest.mark.parametrize("name", MARKDOWN)
def test_links_between_documents_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)\s]+)\)", MARKDOWN[name].read_text()):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            path = (MARKDOWN[name].parent / file).resolve() if file else MARKDOWN[name]
            assert path.exists(), target
            assert not anchor or path.suffix != ".md" or anchor in _anchors(path.read_text()), target


def _anchors(document: str) -> set[str]:
    """The anchors of headings, as GitHub derives them."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", document))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_module_that_a_document_names_exists():
    folders = (ROOT, ROOT / "service", ROOT / "security")
    missing = [
        f"{name}: {module}"
        for name, path in MARKDOWN.items()
        for module in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9]+)+\.py)`", path.read_text(encoding="utf-8"))
        if not any((folder / module).exists() for folder in folders)
    ]
    assert not missing
