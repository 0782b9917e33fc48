"""Expressions that the project's documents, docstrings, comments, messages and test names do not use."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Each expression and what to write instead. Spaces also match line breaks.
EXPRESSIONS = {
    "whatever": "name the thing",
    "whoever|whomever": "name the actor: the client, the worker, the operator",
    "somebody|nobody": "name the actor; 'no caller', 'nothing'",
    "anew": "again, or a verb such as reload or recreate",
    "meanwhile": "while ..., until ..., or nothing",
    "there is no|there are no": "'No such X', or turn the sentence around",
    "tell|tells|told": "says, returns, logs, reports, notifies",
    "wish|wishes": "option, parameter, request",
    "farewell": "shutdown, drain",
    "luggage": "payload",
    "of its own|of their own": "own, separate",
    "at once": "immediately, atomically, at the same time",
    "asks|asked": "requests, calls, queries, reads",
    "hand out|hands out|handed out": "issue",
    "look at|looks at|looked at": "check, read",
}

# Uses that are not the project's own words.
ALLOWED = (
    "tell apart",
    "`told`",  # the value of a metric's label
    "user: nobody",  # the user of a container
)

_PATTERN = re.compile(
    r"\b(?:{})\b".format("|".join(EXPRESSIONS).replace(" ", r"\s+")),
    re.IGNORECASE,
)
_ALLOWED = re.compile("|".join(map(re.escape, ALLOWED)))
_CONSTANTS = {"told", "nobody"}  # the value of a label, and the name of a user
# how the start of a line looks in comments and quotations, between two words of an expression
_MARGIN = re.compile(r"\n[ \t]*(?:#|--|//|>|\*)?[ \t]*")


class Finding(NamedTuple):
    """An expression in a file."""

    path: str
    line: int
    expression: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.expression!r}"


def find_in_text(path: str, text: str, first_line: int = 1) -> Iterator[Finding]:
    """Find expressions in plain text."""
    text = _ALLOWED.sub(lambda match: "\0" * len(match[0]), text)
    text = _MARGIN.sub(lambda match: "\n" + " " * (len(match[0]) - 1), text)
    for match in _PATTERN.finditer(text):
        line = first_line + text.count("\n", 0, match.start())
        yield Finding(path, line, " ".join(match[0].split()))


def find_in_python(path: str, source: str) -> Iterator[Finding]:
    """Find expressions in the comments and the string constants of a module."""
    for line, text in (*_comments(source), *_strings(source)):
        if text not in _CONSTANTS:
            yield from find_in_text(path, text, line)


def find_in_test_names(path: str, source: str) -> Iterator[Finding]:
    """Find expressions in the names of test functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield from find_in_text(path, node.name.replace("_", " "), node.lineno)


def tracked_files(root: Path, *patterns: str) -> list[Path]:
    """List the files of the repository that match, including new ones."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := root / name).is_file()]


def _comments(source: str) -> Iterator[tuple[int, str]]:
    """Yield blocks of comments on consecutive lines, without their margins."""
    block: list[str] = []
    first = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and line != first + len(block):
            yield first, "\n".join(block)
            block = []
        if not block:
            first = line
        block.append(token.string.lstrip("# "))
    if block:
        yield first, "\n".join(block)


def _strings(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
