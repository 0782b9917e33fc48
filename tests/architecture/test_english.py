"""The words of documents, docstrings, comments, messages and test names."""

from collections.abc import Iterator

import pytest

from tests.architecture.word_list import (
    EXPRESSIONS,
    Finding,
    find_in_python,
    find_in_test_names,
    find_in_text,
    tracked_files,
)
from tests.conftest import ROOT

TEXTS = ("*.md", "*.sh", "*.sql", "*.toml", "*.yml", "*.yaml", "*.tpl", "*.conf", "*.hcl", "*.html", "*.txt")
TEXTS_WITHOUT_SUFFIX = ("Makefile", ".env.example", ".gitignore", ".dockerignore", ".ci/*", "*/Dockerfile")
MODULES = (
    "service.py",
    "setup.py",
    "service/*.py",
    "security/*.py",
    "native/*.py",
    "microkubes/*.py",
    "deploy/*.py",
    "docs/*.py",
)


def _findings(*patterns: str, find: object) -> Iterator[Finding]:
    for path in tracked_files(ROOT, *patterns):
        yield from find(str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("patterns", "find"),
    [
        pytest.param((*TEXTS, *TEXTS_WITHOUT_SUFFIX), find_in_text, id="documents and configuration"),
        pytest.param(MODULES, find_in_python, id="docstrings, comments and messages"),
        pytest.param(("tests/*.py",), find_in_test_names, id="test names"),
    ],
)
def test_texts_avoid_the_word_list(patterns, find):
    findings = list(map(str, _findings(*patterns, find=find)))
    assert not findings, "\n".join([f"{len(findings)} expressions of tests/architecture/word_list.py:", *findings])


@pytest.mark.parametrize("expression", [word for words in EXPRESSIONS for word in words.split("|")])
def test_each_expression_is_found(expression):
    assert [each.expression for each in find_in_text("x", f"A {expression}, B.")] == [expression]


def test_an_expression_is_found_across_lines():
    assert [each.line for each in find_in_text("x", "one\nat\nonce")] == [2]
    assert [each.line for each in find_in_python("x", "a = 1\n# at\n# once\n")] == [2]
    assert [each.line for each in find_in_python("x", '"""A.\n\nB at\n    once.\n"""\n')] == [3]


def test_code_is_not_text():
    assert not list(find_in_python("x", "told = asked\n"))
    assert not list(find_in_text("x", "told_of_many, foretold, `told`, tell apart"))
