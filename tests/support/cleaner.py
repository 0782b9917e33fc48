"""A cleaner of temporary files."""

import shutil
from pathlib import Path

from tests.support.waiting import wait_until


def remove(folder: Path) -> None:
    """Remove a folder, although a service may still write into it."""

    def is_gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    wait_until(is_gone)
