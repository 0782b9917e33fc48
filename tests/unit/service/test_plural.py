"""Numbers of things in messages."""

import ast
import re
from pathlib import Path

import pytest

from service.plural import counted

SOURCES = [path for folder in ("service", "security", "microkubes") for path in Path(folder).rglob("*.py")]
COUNTS = re.compile(r"(%d|\{\}) (?!s\b|ms\b)[a-z]+s\b|\(s\)")
# Numbers that cannot be 1.
ALLOWED = {
    "MAX_CONNECTIONS=%d needs a limit of %d open files, but the limit is %d: each worker accepts %d connections; "
    "raise the hard limit (ulimit -Hn, LimitNOFILE)",
}


@pytest.mark.parametrize(("number", "text"), [(0, "0 events"), (1, "1 event"), (2, "2 events")])
def test_one_is_singular(number, text):
    assert counted(number, "event") == text


def test_no_log_line_counts_one_of_several():
    """Formats of log lines that would say "1 events"."""
    found = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in ("debug", "info", "warning", "error", "exception", "critical")
                and node.args
                and isinstance(node.args[0], ast.Constant)
                and COUNTS.search(str(node.args[0].value))
                and node.args[0].value not in ALLOWED
            ):
                found.append(f"{path}: {node.args[0].value}")
    assert found == []
