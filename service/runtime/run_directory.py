"""A folder for what a parent process and its workers share while they run."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from service.errors import SettingsError
from service.observability.multiprocess import share_metrics

METRICS = "metrics"  # the folder of what they count


@contextmanager
def shared_folder() -> Iterator[Path]:
    """The folder, which is gone afterwards. What this process counts meanwhile is told by its workers.

    Raises: SettingsError.
    """
    try:
        made = TemporaryDirectory(prefix="loaner-", ignore_cleanup_errors=True)
    except OSError as err:
        raise SettingsError(f"TMPDIR: no temporary folder can be made: {err.strerror}") from err
    with made as folder:
        share_metrics(Path(folder) / METRICS)
        yield Path(folder)
