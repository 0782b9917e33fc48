"""Fixtures of tests that run the whole program."""

from collections.abc import Iterator

import pytest

from tests.support.browser import Page, open_page


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """A page of a new browser. Tests are skipped where none is installed."""
    with open_page(tmp_path_factory.mktemp("chromium")) as page:
        yield page
