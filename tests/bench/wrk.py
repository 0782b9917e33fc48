"""Runs wrk against a list of paths."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

# Requests are built before the clock starts, also for a single path, so that wrk's overhead is the same in all runs.
_SCRIPT = """
local paths = { %s }
local requests, at = {}, 0
function init()
   for number, path in ipairs(paths) do requests[number] = wrk.format("%s", path, nil, %s) end
end
function request()
   at = at %% #requests + 1
   return requests[at]
end
function done(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.timeout
   io.stderr:write(string.format(
      '{"requests": %%d, "error_statuses": %%d, "failed": %%d, "us": %%d, "p50_us": %%d, "p99_us": %%d}',
      summary.requests, errors.status, failed, summary.duration, latency:percentile(50), latency:percentile(99)))
end
"""


class UnexpectedReply(Exception):
    """A reply was missing or wrong, so the measurement is not valid."""


@dataclass(frozen=True)
class Run:
    """The result of one run.

    Args:
        per_s: Requests per second.
        p50_ms: Median latency.
        p99_ms: 99th percentile of the latency.
    """

    per_s: float
    p50_ms: float
    p99_ms: float


def wrk(
    origin: str, paths: list[str], headers: dict[str, str], seconds: float, connections: int, body: bytes | None = None
) -> Run:
    """Request the paths in turn.

    Args:
        origin: Scheme, host and port.
        paths: The paths to request.
        headers: Headers of each request.
        seconds: The duration, rounded to at least 1 whole second.
        connections: Concurrent connections.
        body: The body of POST requests; None for GET requests.

    Raises:
        UnexpectedReply: If a request failed or had an error status.
    """
    options = [argument for name, value in headers.items() for argument in ("-H", f"{name}: {value}")]
    with TemporaryDirectory() as folder:
        script = Path(folder) / "paths.lua"
        body_file = Path(folder) / "body"
        body_file.write_bytes(body or b"")
        method, content = ("GET", "nil") if body is None else ("POST", f'io.open("{body_file}", "rb"):read("*a")')
        script.write_text(_SCRIPT % (", ".join(f'"{path}"' for path in paths), method, content))
        completed = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), *options, origin],
            check=True, capture_output=True, text=True, timeout=seconds + 30,
        )  # fmt: skip
    result = json.loads(completed.stderr)
    if result["error_statuses"] or result["failed"] or not result["requests"]:
        raise UnexpectedReply(f"{origin}{paths[0]}: {result}")
    return Run(result["requests"] / result["us"] * 1e6, result["p50_us"] / 1000, result["p99_us"] / 1000)
