"""Runs wrk."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.bench.wrk_scripts import Requests

TIMEOUT_S = 10  # of a request, after which it has failed

_DONE = """
function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.timeout
   io.stderr:write(string.format(
      '{"requests": %d, "error_statuses": %d, "failed": %d, "us": %d, "p50_us": %d, "p99_us": %d}',
      summary.requests, errors.status, failed, summary.duration, latency:percentile(50), latency:percentile(99)))
end
"""


class UnexpectedReply(Exception):
    """A reply was missing or wrong, so the measurement is not valid."""


@dataclass(frozen=True)
class Run:
    """The result of one run.

    Args:
        requests: The number of replies.
        seconds: The duration.
        p50_ms: Median latency.
        p99_ms: 99th percentile of the latency.
        wrk_cpu_s: The processor time of wrk itself.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    wrk_cpu_s: float

    @property
    def per_s(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def require_wrk() -> None:
    """Exit with a hint if wrk is not installed."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed. Run `apt install wrk` or `brew install wrk`.")


def wrk(
    origin: str,
    requests: Requests,
    headers: dict[str, str],
    seconds: float,
    connections: int,
    *,
    threads: int = 1,
    pause_ms: int = 0,
    allow_errors: bool = False,
) -> Run:
    """Send requests for a time.

    Args:
        origin: Scheme, host and port.
        requests: What to send.
        headers: Headers of each request.
        seconds: The duration, rounded to at least 1 whole second.
        connections: Concurrent connections.
        threads: Threads of wrk.
        pause_ms: The pause of each connection before a request.
        allow_errors: Whether replies may have an error status.

    Raises:
        UnexpectedReply: If a request failed, or had an error status that is not allowed.
    """
    options = [argument for name, value in headers.items() for argument in ("-H", f"{name}: {value}")]
    with TemporaryDirectory() as name:
        folder = Path(name)
        delay = f"function delay() return {pause_ms} end\n" if pause_ms else ""
        (folder / "script.lua").write_text(requests.script(folder) + delay + _DONE)
        with (folder / "result").open("w") as result, (folder / "report").open("w") as report:
            process = subprocess.Popen(
                ["wrk", f"-t{threads}", f"-c{connections}", f"-d{max(1, round(seconds))}s", f"--timeout={TIMEOUT_S}s",
                 "-s", str(folder / "script.lua"), *options, origin],
                stdout=report, stderr=result,
            )  # fmt: skip
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        text = (folder / "result").read_text()
    if process.returncode:
        raise UnexpectedReply(f"wrk {origin}: exit code {process.returncode}: {text}")
    found = json.loads(text)
    if found["failed"] or not found["requests"] or (found["error_statuses"] and not allow_errors):
        raise UnexpectedReply(f"{origin} {requests}: {found}"[:1000])
    return Run(
        found["requests"], found["us"] / 1e6, found["p50_us"] / 1000, found["p99_us"] / 1000,
        usage.ru_utime + usage.ru_stime,
    )  # fmt: skip
