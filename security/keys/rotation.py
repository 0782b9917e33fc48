"""Rotation of a service's own keys while other processes use them.

The state of a key follows from its files alone, so a directory can be copied or mounted, and an interrupted change
leaves it usable: the oldest complete pair is active, younger pairs are next, and a public key without its private half
is retiring. Only own keys are written or removed, by one process at a time, and each change is in the audit log before
it is made.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from os import PathLike
from pathlib import Path

from security.errors import KeyException
from security.files import TEMPORARY_SUFFIX, locked, sync_directory
from security.keys.audit_log import KeyAudit
from security.keys.generation import write_key_pair
from security.keys.key_file import Key, key_kind
from security.keys.signing_key import TIMESTAMP_FORMAT, created_at, own_key_names, parse_timestamp
from security.keys.verification_key import LEEWAY_S

PUBLISH_S = 60.0  # how long to publish a key before it signs, so that cached key sets include it
NOTICE_S = 5.0  # how long processes may take to notice that their key no longer signs


class State(StrEnum):
    """The state of a key."""

    ACTIVE = "active"  # signs
    NEXT = "next"  # published, signs after the next rotation
    RETIRING = "retiring"  # verifies the tokens that it signed
    UNPUBLISHED = "unpublished"  # a private key without its public half: not used
    PLATFORM = "platform"  # owned by the platform: only read


@dataclass(frozen=True)
class Entry:
    """A key of a directory.

    Args:
        name: The name of the key.
        state: Its state.
        public: Its public file, if any.
        private: Its private files.
        created_at: The time in its name, or else when its files were last modified.
        expires: When the last token of a retiring key expires, if known.
    """

    name: str
    state: State
    public: Path | None
    private: tuple[Path, ...]
    created_at: datetime
    expires: datetime | None = None


class KeyRing:
    """Administers the keys of a directory.

    Args:
        directory: The key directory.
        owner: The prefix of the names of own keys.
        lifetime_s: The longest lifetime of a token, in seconds.
        now: The clock, in seconds since the epoch.
    """

    def __init__(
        self, directory: str | PathLike[str], owner: str, lifetime_s: float, now: Callable[[], float] = time.time
    ) -> None:
        self.directory = Path(directory)
        self.owner = owner
        self.lifetime_s = lifetime_s
        self.audit = KeyAudit(self.directory / f"{owner}.log")
        self._now = now

    def now(self) -> datetime:
        """Return the current time, to the second."""
        return datetime.fromtimestamp(int(self._now()), UTC)

    def entries(self) -> list[Entry]:
        """Return all keys: own keys first, oldest first.

        Raises:
            KeyException: If the directory cannot be read.
        """
        public: dict[str, Path] = {}
        private: dict[str, tuple[Path, ...]] = {}
        for file in self._files():
            kind = key_kind(file)
            if kind == "public":
                public[file.stem] = file
            elif kind == "private":
                private[file.stem] = (*private.get(file.stem, ()), file)
        try:
            rotations = self.audit.last("rotate")
        except OSError as err:
            raise KeyException(str(self.audit.path), f"cannot be read: {err.strerror}") from err
        own = own_key_names(public.keys() | private.keys(), self.owner)
        others = sorted((public.keys() | private.keys()) - set(own))
        found: list[Entry] = []
        for name in [*own, *others]:
            state = State.PLATFORM
            expires = None
            if name in own:
                state = _state(name in public, name in private, any(e.state is State.ACTIVE for e in found))
            if state is State.RETIRING:
                expires = parse_timestamp(rotations.get(name, {}).get("expires"))
            files = [*private.get(name, ()), *([public[name]] if name in public else [])]
            created = created_at(name, self.owner, files) or self.now()  # removed since the directory was listed
            found.append(Entry(name, state, public.get(name), private.get(name, ()), created, expires))
        return found

    def own(self, state: State) -> list[Entry]:
        """Return the keys in a state, oldest first."""
        return [entry for entry in self.entries() if entry.state is state]

    def leftovers(self) -> list[Path]:
        """Return the temporary files of interrupted changes. The next change removes them."""
        return [
            file for file in self._files() if file.name.startswith(f".{self.owner}") and file.suffix == TEMPORARY_SUFFIX
        ]

    def generate(self) -> str:
        """Create and publish a key pair: active if it is the first, otherwise next.

        Returns:
            The name of the key.

        Raises:
            KeyException: If a next key exists already, or the directory cannot be changed.
        """
        with self._exclusive():
            waiting = self.own(State.NEXT)
            if waiting:
                raise KeyException(waiting[0].name, "is already the next key; to sign with it: keys rotate")
            return self._generate()

    def prepare(self) -> tuple[str, str, float]:
        """Publish a next key, unless one exists.

        Returns:
            The active key, the next key, and for how many seconds the latter has been published.

        Raises:
            KeyException: If no key is active, or the directory cannot be changed.
        """
        with self._exclusive():
            active, following = self.own(State.ACTIVE), self.own(State.NEXT)
            if not active:
                raise KeyException(str(self.directory), "has no key of this service; create one: keys generate")
            name = following[0].name if following else self._generate()
            created = following[0].created_at if following else self.now()
            return active[0].name, name, max(0.0, self._now() - created.timestamp())

    def rotate(self, active: str, successor: str) -> datetime:
        """Make the next key active, and publish a key for the next rotation.

        The private half of the active key is removed. Its public half stays until its last token has expired. Retiring
        keys whose last token has expired are removed.

        Args:
            active: The active key, as `prepare` returned it.
            successor: The next key, as `prepare` returned it.

        Returns:
            When the last token of the previous key expires.

        Raises:
            KeyException: If the keys have changed since `prepare`, or the directory cannot be changed.
        """
        with self._exclusive():
            entries = {entry.name: entry for entry in self.entries()}
            old = entries.get(active)
            first = next((e.name for e in entries.values() if e.state is State.NEXT), None)
            if old is None or old.state is not State.ACTIVE or first != successor:
                raise KeyException(
                    successor, "cannot become active: another process has changed the keys; see: keys list"
                )
            self._require_usable(entries[successor])
            expires = self.now() + timedelta(seconds=self.lifetime_s + LEEWAY_S + NOTICE_S)
            self._record("rotate", active, successor=successor, expires=expires.strftime(TIMESTAMP_FORMAT))
            self._remove(old.private)
            for entry in self.own(State.RETIRING):
                if entry.expires is not None and entry.expires <= self.now():
                    self._record("remove", entry.name)
                    self._remove_public(entry.name)
            if not self.own(State.NEXT):
                self._generate()
            return expires

    def retire(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Remove own keys immediately. If no usable key would remain to sign, one is created first.

        Args:
            names: The names of the keys.

        Returns:
            The removed keys, each with a description of the impact.

        Raises:
            KeyException: If a name is not that of an own key; then nothing is removed.
        """
        with self._exclusive():
            entries = {entry.name: entry for entry in self.entries()}
            names = [name.removesuffix(".pub") for name in names]
            for name in names:
                if name not in entries:
                    raise KeyException(name, "is not in this directory; see: keys list")
                if entries[name].state is State.PLATFORM:
                    raise KeyException(name, "is not a key of this service; remove it where it is managed")
            signing = [e for e in entries.values() if e.state in (State.ACTIVE, State.NEXT)]
            if signing and not any(self._is_usable(entry) for entry in signing if entry.name not in names):
                self._generate()
            removed = []
            for name in dict.fromkeys(names):
                entry = entries[name]
                removed.append((name, self._impact(entry)))
                self._record("retire", name, was=str(entry.state))
                # The public half first: an interruption must not leave a leaked key trusted.
                self._remove_public(name)
                self._remove(entry.private)
            return removed

    def _require_usable(self, entry: Entry) -> None:
        """Raise KeyException if a pair cannot sign."""
        assert entry.public is not None
        public = Key(entry.public, public=True).verification_key(entry.name).key
        for file in entry.private:
            if Key(file).private_key().public_key() != public:
                raise KeyException(str(file), f"is not the private half of {entry.name}.pub")

    def _is_usable(self, entry: Entry) -> bool:
        try:
            self._require_usable(entry)
        except KeyException:
            return False
        return True

    def _impact(self, entry: Entry) -> str:
        if entry.state is State.ACTIVE:
            return f"every token it has signed is rejected; tokens are valid for {self.lifetime_s:.0f} s"
        if entry.state is State.RETIRING and (entry.expires is None or entry.expires > self.now()):
            until = f"; the last one would have expired at {entry.expires:%Y-%m-%d %H:%M:%S}Z"
            return "every token it has signed is rejected" + (until if entry.expires else "")
        return "nothing: no valid token was signed with it"

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Lock the directory, remove leftovers, and convert OSError to KeyException."""
        self._files()  # if the directory is missing, the error must name it instead of the lock file
        lock = self.directory / f".{self.owner}.lock"
        try:
            with locked(lock):
                for file in self.leftovers():
                    file.unlink()
                yield
        except OSError as err:
            path = str(err.filename or lock)
            path = str(self.directory) if path == str(lock) else path
            raise KeyException(path, f"cannot be changed: {err.strerror}") from err

    def _generate(self) -> str:
        # The names of removed keys are not reused: cached key sets may still contain them.
        used = own_key_names({e.name for e in self.entries()} | self.audit.last("generate").keys(), self.owner)
        last = parse_timestamp(used[-1].removeprefix(f"{self.owner}-")) if used else None
        try:
            created = self.now() if last is None else max(self.now(), last + timedelta(seconds=1))
        except OverflowError as err:
            raise KeyException(used[-1], "has the latest possible timestamp in its name; remove it") from err
        name = f"{self.owner}-{created.strftime(TIMESTAMP_FORMAT)}"
        self._record("generate", name)
        write_key_pair(self.directory, name)
        return name

    def _record(self, action: str, name: str, **details: str) -> None:
        self.audit.record(action, name, self.now().strftime(TIMESTAMP_FORMAT), **details)

    def _remove_public(self, name: str) -> None:
        """Remove all public files of a key: the suffix is case-insensitive."""
        self._remove([file for file in self._files() if file.stem == name and key_kind(file) == "public"])

    def _remove(self, files: Sequence[Path]) -> None:
        for file in files:
            file.unlink()
            sync_directory(self.directory)

    def _files(self) -> list[Path]:
        try:
            return sorted(self.directory.iterdir())
        except OSError as err:
            raise KeyException(str(self.directory), f"is not a readable directory of keys: {err.strerror}") from err


def _state(public: bool, private: bool, one_signs: bool) -> State:
    if not private:
        return State.RETIRING
    if not public:
        return State.UNPUBLISHED
    return State.NEXT if one_signs else State.ACTIVE
