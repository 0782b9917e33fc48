"""A thread for computations that should not slow down requests."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor

NICENESS = 10  # of 19


def background_executor(name: str, threads: int = 1) -> ThreadPoolExecutor:
    """Return an executor whose threads get a processor when other threads leave it idle.

    It is meant for computations that release the interpreter lock: a thread of low priority that held the lock would
    make others wait. Only on Linux does each thread have a priority.

    Args:
        name: The prefix of the threads' names.
        threads: The number of threads.
    """
    return ThreadPoolExecutor(threads, thread_name_prefix=name, initializer=_lower_priority)


def _lower_priority() -> None:
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, NICENESS)  # of this thread
