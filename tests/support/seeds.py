"""The examples in the documents of the two projects that this one replaces. tests/seeds has the documents."""

import re

from tests.conftest import ROOT

# Names that the examples of the library use without importing them.
PRELUDE = "import os\nfrom microkubes.security import JWTSecurityProvider, SecurityException\n"


def document(name: str) -> str:
    return (ROOT / "tests" / "seeds" / f"{name}.txt").read_text(encoding="utf-8")


def code_blocks(name: str, language: str) -> list[str]:
    """Return the code blocks of a document in one language, in order."""
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```", document(name))


def addresses() -> list[str]:
    """Return the paths of the addresses in the document of the earlier Loaner, with the values that it gives."""
    # The document names the host {HOST}, localhost and, once, locallost.
    found = re.findall(r"https://(?:\{HOST\}|localhost|locallost):5555(/[\w/<>-]+)", document("loaner"))
    values = {"/loan_id/date": "/1/2021-02-15", "<id>": "1", "<date>": "2021-02-15"}
    for name, value in values.items():
        found = [path.replace(name, value) for path in found]
    return sorted(set(found))


def commented_statement(example: str) -> str:
    """Return the statement that an example shows in its comments.

    It is Python except for `except SecurityException serr`, which was never a statement of Python 3.
    """
    lines = re.findall(r"(?m)^    # (.*)$", example)
    return "\n".join(lines).replace("except SecurityException serr", "except SecurityException as serr")
