"""Asking a server for a list of addresses, over and over, with wrk."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

# Requests are put together before the clock starts, and there is a list even of one: all cost wrk the same.
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
      '{"requests": %%d, "refused": %%d, "failed": %%d, "us": %%d, "p50_us": %%d, "p99_us": %%d}',
      summary.requests, errors.status, failed, summary.duration, latency:percentile(50), latency:percentile(99)))
end
"""


class WrongReply(Exception):
    """A contender did not answer everything, or not rightly: its times mean nothing."""


@dataclass(frozen=True)
class Run:
    """What one run found. per_s: requests per second. p50_ms, p99_ms: latency."""

    per_s: float
    p50_ms: float
    p99_ms: float


def wrk(
    origin: str, paths: list[str], headers: dict[str, str], seconds: float, connections: int, body: bytes | None = None
) -> Run:
    """Ask for the paths in turn. seconds: at least 1, in whole ones. body: of a POST; without one it is a GET.

    Raises: WrongReply unless every reply came, with a status of success.
    """
    shown = [argument for name, value in headers.items() for argument in ("-H", f"{name}: {value}")]
    with TemporaryDirectory() as folder:
        script = Path(folder) / "paths.lua"
        sent = Path(folder) / "body"
        sent.write_bytes(body or b"")
        method, content = ("GET", "nil") if body is None else ("POST", f'io.open("{sent}", "rb"):read("*a")')
        script.write_text(_SCRIPT % (", ".join(f'"{path}"' for path in paths), method, content))
        done = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), *shown, origin],
            check=True, capture_output=True, text=True, timeout=seconds + 30,
        )  # fmt: skip
    found = json.loads(done.stderr)
    if found["refused"] or found["failed"] or not found["requests"]:
        raise WrongReply(f"{origin}{paths[0]}: {found}")
    return Run(found["requests"] / found["us"] * 1e6, found["p50_us"] / 1000, found["p99_us"] / 1000)
