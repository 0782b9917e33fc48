"""What wrk sends: Lua scripts that define its requests."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Requests(Protocol):
    """The requests of a run."""

    def script(self, folder: Path) -> str:
        """Return Lua that defines `request`, and may read files of a folder that exists during the run."""


@dataclass(frozen=True)
class InTurn:
    """Requests for paths in turn. They are built before the clock starts, so wrk's overhead is the same in all runs.

    Args:
        paths: The paths to request.
        body: The body of POST requests; None for GET requests.
    """

    paths: list[str]
    body: bytes | None = None

    def script(self, folder: Path) -> str:
        """Return the script, and write the body to a file."""
        method, body = "GET", "nil"
        if self.body is not None:
            (folder / "body").write_bytes(self.body)
            method, body = "POST", f'io.open("{folder}/body", "rb"):read("*a")'
        paths = ", ".join(f'"{path}"' for path in self.paths)
        return f"""
            local paths, body = {{ {paths} }}, {body}
            local requests, at = {{}}, 0
            function init()
               for number, path in ipairs(paths) do requests[number] = wrk.format("{method}", path, nil, body) end
            end
            function request()
               at = at % #requests + 1
               return requests[at]
            end
        """


@dataclass(frozen=True)
class RandomLoans:
    """Requests for the balances of random loans. Each thread draws its own, the same ones in each run.

    Args:
        last: The largest id; the smallest one is 1.
        day: The day of the balances.
    """

    last: int
    day: str

    def script(self, folder: Path) -> str:
        """Return the script."""
        return f"""
            local threads = 0
            function setup(thread)
               threads = threads + 1
               thread:set("seed", threads)
            end
            function init() math.randomseed(seed) end
            function request()
               return wrk.format("GET", string.format("/api/v1/loan/%d/{self.day}", math.random(1, {self.last})))
            end
        """


@dataclass(frozen=True)
class Guesses:
    """Requests to /token, each with another client and a wrong secret, so that each costs a hash."""

    def script(self, folder: Path) -> str:
        """Return the script."""
        return """
            local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
            local form = "grant_type=client_credentials&client_id=guess-%d&client_secret=wrong"
            function init() math.randomseed(os.time()) end
            function request()
               return wrk.format("POST", "/token", headers, string.format(form, math.random(1, 1e9)))
            end
        """
