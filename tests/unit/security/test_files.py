"""Files are read within bounds. `tests/unit/test_bounded_files.py` tests each user."""

import os

import pytest

from security.files import read_bounded


def test_regular_file_is_read_up_to_its_limit(tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 11)
    assert read_bounded(tmp_path / "file", max_bytes=11) == b"x" * 11
    with pytest.raises(OSError, match="has more than 10 bytes"):
        read_bounded(tmp_path / "file", max_bytes=10)


def test_other_kinds_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="is not a regular file"):
            read_bounded(path)
    with pytest.raises(IsADirectoryError):
        read_bounded(tmp_path)
