"""A folder for what a parent process and its workers share while they run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from service.errors import SettingsError
from service.observability.multiprocess import enable_multiprocess

METRICS = "metrics"  # the folder of what they count


@contextmanager
def run_directory() -> Iterator[Path]:
    """The folder, which is gone afterwards. What this process counts meanwhile is told by its workers.

    Raises: SettingsError.
    """
    try:
        made = TemporaryDirectory(prefix="loaner-", ignore_cleanup_errors=True)
    except OSError as err:
        raise SettingsError(f"TMPDIR: no temporary folder can be made: {err.strerror}") from err
    with made as folder:
        enable_multiprocess(Path(folder) / METRICS)
        yield Path(folder)
