"""A temporary directory that the parent process and its workers share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory

from service.errors import SettingsError
from service.observability.multiprocess import enable_multiprocess

METRICS_DIRECTORY = "metrics"  # in the run directory
INSTANCE_ID_BYTES = 6
INSTANCE_FILE = "instance"  # in the run directory: the id of this instance


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
        (Path(path) / INSTANCE_FILE).write_text(token_hex(INSTANCE_ID_BYTES))
        yield Path(path)


def read_instance_id(run_directory: Path) -> str:
    """Return the id of this instance, which differs with each start. If its file was removed, return a new one."""
    try:
        return (run_directory / INSTANCE_FILE).read_text()
    except OSError:
        return token_hex(INSTANCE_ID_BYTES)
