"""A configured log."""

import io
import logging
import sys

import pytest

from service.observability.logging import configure_logging


@pytest.fixture
def output(monkeypatch):
    """Configure the log, and return the stream that receives it."""
    for name in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks", "_srcfile"):
        monkeypatch.setattr(logging, name, getattr(logging, name, True), raising=False)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr("service.observability.logging._style", "text")  # restored at the end
    monkeypatch.setattr(logging.root, "level", logging.root.level)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    configure_logging("INFO")
    yield sys.stderr
    logging.getLogger("service.access").manager._clear_cache()  # the levels that it has looked up
