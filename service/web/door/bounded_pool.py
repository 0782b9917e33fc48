"""Threads for calls that may wait, and a bounded queue before them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from service.errors import ServiceBusy


class BoundedPool:
    """Runs calls in threads. It belongs to one event loop.

    Args:
        name: The name of its threads.
        threads: The number of calls that run concurrently.
        queue: The number of calls that wait for a thread.
    """

    def __init__(self, name: str, threads: int, queue: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._limit = threads + queue
        self._pending = 0

    async def run(self, function: Callable[..., Any], *arguments: Any, is_admitted: bool = False) -> Any:
        """Call a function in a thread, and return its result.

        Args:
            function: The function.
            *arguments: Its arguments.
            is_admitted: Whether the call continues work that the pool has begun, which it must not refuse.

        Raises:
            ServiceBusy: If the queue is full.
        """
        if self._pending >= self._limit and not is_admitted:
            raise ServiceBusy
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        finally:
            self._pending -= 1
