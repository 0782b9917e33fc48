"""A temporary directory that the parent process and its workers share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from service.errors import SettingsError
from service.observability.multiprocess import enable_multiprocess

METRICS_DIRECTORY = "metrics"  # in the run directory


@contextmanager
def open_run_directory() -> Iterator[Path]:
    """Create the run directory, and remove it at the end. Until then, workers also report this process's metrics.

    Raises:
        SettingsError: If the directory cannot be created.
    """
    try:
        temporary = TemporaryDirectory(prefix="loaner-", ignore_cleanup_errors=True)
    except OSError as err:
        raise SettingsError(f"TMPDIR: cannot create a temporary directory: {err.strerror}") from err
    with temporary as path:
        enable_multiprocess(Path(path) / METRICS_DIRECTORY)
        yield Path(path)
