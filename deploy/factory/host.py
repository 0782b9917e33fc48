"""The host over ssh: the system's own client, so that ~/.ssh/config, agents and known hosts count as they always do."""

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from deploy.factory.errors import FactoryError
from deploy.factory.target import Target

# A host that is not known is refused, whatever the configuration says, and nothing is asked for on the way.
OPTIONS = {
    "StrictHostKeyChecking": "yes",
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "4",
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "RemoteCommand": "none",
    "RequestTTY": "no",
    "ControlPersist": "no",
}
CONNECTED = b"connected\n"
LOST = 255  # the status of ssh itself
REASONS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "it shows another host key than the known one; find out why, and only "
    "then remove the known one with ssh-keygen -R",
    "Host key verification failed": "its host key is not known; compare it with what its owner says, and connect once "
    "with ssh by hand",
    "Permission denied": "it does not accept your key; see that ssh gets in by hand without a password",
}


class Host:
    """One connection that every command shares, once it is entered. config: a file in place of ~/.ssh/config."""

    def __init__(self, target: Target, config: Path | None = None) -> None:
        self.target = target
        self._config = config
        self._socket: Path | None = None

    def __enter__(self) -> Self:
        """Raises: FactoryError saying why there is no connection."""
        self._folder = tempfile.TemporaryDirectory(prefix="factory-")
        self._socket = Path(self._folder.name) / "s"  # short, as paths of sockets have to be
        with tempfile.TemporaryFile() as complaints:
            # It waits for what comes on its stdin: when this process dies, however that is, the connection ends.
            self._master = self.start(self._ssh("cat", "ControlMaster=yes"), stderr=complaints)
            assert self._master.stdin is not None
            assert self._master.stdout is not None
            with suppress(BrokenPipeError):  # the reason is in what it complains of
                self._master.stdin.write(CONNECTED)
                self._master.stdin.flush()
            if not any(line == CONNECTED for line in iter(self._master.stdout.readline, b"")):
                self._close()
                complaints.seek(0)
                raise FactoryError(self._explained(complaints.read().decode(errors="replace")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def command(self, *words: str) -> list[str]:
        """What runs these words on the host."""
        return self._ssh(shlex.join(words), "ControlMaster=no")

    def script_command(self, script: str, *arguments: str) -> list[str]:
        """What runs a script that comes first on stdin: whatever shell the host's user has, it reads little."""
        first = f'eval "$(dd bs=1 count={len(script.encode())} 2>/dev/null)"'
        return self.command("sh", "-c", first, "factory", *arguments)

    def run_script(
        self, script: str, *arguments: str, stdin: bytes = b"", tell: Callable[[str], object] = lambda _: None
    ) -> tuple[int, list[str]]:
        """Run a script. stdin: what it reads. tell: gets each line as it comes. Returns: its status, and its lines.

        Raises: FactoryError when the connection is lost.
        """
        lines = []
        with self.start(self.script_command(script, *arguments), stderr=subprocess.STDOUT) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                feed(process.stdin, [script.encode() + stdin])
                for line in process.stdout:
                    lines.append(line.decode(errors="replace").rstrip())
                    tell(lines[-1])
                status = process.wait()
            finally:
                process.kill()
        if status == LOST:
            raise FactoryError(f"the connection to {self.target} was lost: {' '.join(lines[-1:])}")
        return status, lines

    def succeeds(self, *words: str) -> bool:
        """Whether these words run on the host and end well."""
        with self.start(self.command(*words), stderr=subprocess.STDOUT) as process:
            process.communicate()
        return process.returncode == 0

    def start(self, command: list[str], stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start an ssh with pipes. It has a session of its own: whoever presses Ctrl-C stops us, and we stop it."""
        try:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
            )
        except FileNotFoundError:
            raise FactoryError("ssh is not on the PATH here; install OpenSSH's client") from None

    def _ssh(self, command: str, control: str) -> list[str]:
        options = [f"{name}={value}" for name, value in OPTIONS.items()]
        if self._socket is not None:
            options += [control, f"ControlPath={self._socket}"]
        return [
            "ssh",
            *(["-F", str(self._config)] if self._config else []),
            *(part for option in options for part in ("-o", option)),
            *(["-p", str(self.target.port)] if self.target.port else []),
            str(self.target),
            command,
        ]

    def _close(self) -> None:
        self._master.kill()
        self._master.communicate()
        self._folder.cleanup()

    def _explained(self, complaints: str) -> str:
        for sign, reason in REASONS.items():
            if sign in complaints:
                return f"{self.target} cannot be used: {reason}"
        last = complaints.strip().splitlines()[-1:]
        return f"{self.target} cannot be reached: {' '.join(last) or 'ssh ended without a word'}"


def feed(pipe: IO[bytes], chunks: Iterable[bytes]) -> None:
    """Write to somebody, and close. Who ends early and reads no more says why on its own."""
    with suppress(BrokenPipeError), pipe:
        for chunk in chunks:
            pipe.write(chunk)
