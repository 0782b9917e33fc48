"""A copy of the project's files, as a clone has them."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.architecture.word_list import tracked_files
from tests.conftest import ROOT


@contextmanager
def checkout() -> Iterator[Path]:
    """Copy the tracked files, and the compiled core if it is built, to a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="loaner-clone-"))
    folder.chmod(0o755)
    for path in (*tracked_files(ROOT), *(ROOT / "native").glob("*.so")):
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    yield folder
    shutil.rmtree(folder)
