"""Commands on a host over ssh.

Uses the system's ssh client, so that ~/.ssh/config, agents and known hosts apply.
"""

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

# These override ~/.ssh/config: unknown host keys are always rejected, and ssh never prompts.
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
CONNECTION_FAILED = 255  # exit status of ssh itself
REASONS = {
    "REMOTE HOST IDENTIFICATION HAS CHANGED": "its host key has changed; find out why before you remove the known key "
    "with ssh-keygen -R",
    "Host key verification failed": "its host key is not known; verify it with the host's owner, then connect once "
    "with ssh",
    "Permission denied": "it does not accept your key; check that ssh connects without a password",
}


class Host:
    """A host; as a context manager, one connection that all commands share.

    Args:
        target: The host, and how to log in.
        config: ssh configuration to use instead of ~/.ssh/config.
    """

    def __init__(self, target: Target, config: Path | None = None) -> None:
        self.target = target
        self._config = config
        self._socket: Path | None = None

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            FactoryError: If the connection fails; the message says why.
        """
        self._folder = tempfile.TemporaryDirectory(prefix="factory-")
        self._socket = Path(self._folder.name) / "s"  # short: the length of socket paths is limited
        with tempfile.TemporaryFile() as errors:
            # cat ends with its stdin: when this process dies, even by SIGKILL, the connection closes.
            self._master = self.start(self._ssh("cat", "ControlMaster=yes"), stderr=errors)
            assert self._master.stdin is not None
            assert self._master.stdout is not None
            with suppress(BrokenPipeError):  # ssh has written the reason to stderr
                self._master.stdin.write(CONNECTED)
                self._master.stdin.flush()
            if not any(line == CONNECTED for line in iter(self._master.stdout.readline, b"")):
                self._close()
                errors.seek(0)
                raise FactoryError(self._explain(errors.read().decode(errors="replace")))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def command(self, *words: str) -> list[str]:
        """Return the local command that runs these words on the host."""
        return self._ssh(shlex.join(words), "ControlMaster=no")

    def script_command(self, script: str, *arguments: str) -> list[str]:
        """Return the local command that runs a script on the host.

        The script is read from the start of stdin: the user's login shell, which may not be POSIX, only starts sh.
        """
        first = f'eval "$(dd bs=1 count={len(script.encode())} 2>/dev/null)"'
        return self.command("sh", "-c", first, "factory", *arguments)

    def run_script(
        self, script: str, *arguments: str, stdin: bytes = b"", on_line: Callable[[str], object] = lambda _: None
    ) -> tuple[int, list[str]]:
        """Run a script on the host.

        Args:
            script: Text of the script.
            arguments: Arguments of the script.
            stdin: Input of the script.
            on_line: Called with each line of output when it arrives.

        Returns:
            The exit status, and the lines of stdout and stderr.

        Raises:
            FactoryError: If the connection is lost.
        """
        lines = []
        with self.start(self.script_command(script, *arguments), stderr=subprocess.STDOUT) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                feed(process.stdin, [script.encode() + stdin])
                for line in process.stdout:
                    lines.append(line.decode(errors="replace").rstrip())
                    on_line(lines[-1])
                status = process.wait()
            finally:
                process.kill()
        if status == CONNECTION_FAILED:
            raise FactoryError(f"the connection to {self.target} was lost: {' '.join(lines[-1:])}")
        return status, lines

    def succeeds(self, *words: str) -> bool:
        """Return whether a command on the host exits with 0."""
        with self.start(self.command(*words), stderr=subprocess.STDOUT) as process:
            process.communicate()
        return process.returncode == 0

    def start(self, command: list[str], stderr: int | IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a local ssh command with pipes.

        It runs in its own session, so that Ctrl-C reaches only this process, which then stops it.

        Args:
            command: A command from `command` or `script_command`.
            stderr: Where its stderr goes, as for `subprocess.Popen`.

        Raises:
            FactoryError: If ssh is not installed.
        """
        try:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True
            )
        except FileNotFoundError:
            raise FactoryError("ssh is not on the local PATH; install the OpenSSH client") from None

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

    def _explain(self, errors: str) -> str:
        for sign, reason in REASONS.items():
            if sign in errors:
                return f"{self.target} cannot be used: {reason}"
        last = errors.strip().splitlines()[-1:]
        return f"{self.target} cannot be reached: {' '.join(last) or 'ssh exited without an error message'}"


def feed(pipe: IO[bytes], chunks: Iterable[bytes]) -> None:
    """Write chunks to a pipe and close it; stops early if the reader exits, which reports its own error."""
    with suppress(BrokenPipeError), pipe:
        for chunk in chunks:
            pipe.write(chunk)
