"""The lines of the log."""

import logging

from service.observability.logging import write_lines


def test_each_log_line_has_its_own_time(output):
    handler = logging.root.handlers[0]
    plain = logging.Formatter("%(asctime)s")
    for created in (1.25, 1.75, 2.0, 86_400.999):
        record = logging.LogRecord("a", logging.INFO, "", 0, "text", (), None)
        record.created, record.msecs = created, created % 1 * 1000
        assert handler.format(record) == f"{plain.format(record)} INFO a [-] text"


def test_lines_are_written_together(output, monkeypatch):
    written = []
    monkeypatch.setattr(output, "write", written.append)
    write_lines(["a", "b"])
    write_lines([])
    assert written == ["a\nb\n"]


def test_a_handler_without_a_stream_is_skipped(output, tmp_path, monkeypatch):
    late = logging.FileHandler(tmp_path / "late.log", delay=True)
    monkeypatch.setattr(logging.root, "handlers", [late, *logging.root.handlers])
    write_lines(["a"])
    assert output.getvalue() == "a\n"
