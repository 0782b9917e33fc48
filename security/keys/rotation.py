"""Changing a service's own keys: made, rotated and removed while others read them.

What state a key is in is told by its files alone, so a directory can be copied or mounted, and a change that is
interrupted leaves one that works: the oldest pair is active, younger pairs are next, and a public key without its
private one is retiring. Only the owner's own files are ever written or removed, one process at a time, and each change
is in the audit log before it is made.
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
from security.files import DRAFT, locked, sync_directory
from security.keys.audit_log import KeyAudit
from security.keys.generation import write_key_pair
from security.keys.key_file import Key, kind_of
from security.keys.signing_key import STAMP, own_names, time_of_making, time_of_stamp
from security.keys.verification_key import LEEWAY_S

PUBLISH_S = 60.0  # a key is published this long before it signs: whoever keeps a copy of the set has seen it by then
NOTICE_S = 5.0  # within this every process has noticed that it no longer signs


class State(StrEnum):
    """What a key is for."""

    ACTIVE = "active"  # signs
    NEXT = "next"  # is published, and will sign
    RETIRING = "retiring"  # verifies what it has signed
    UNPUBLISHED = "unpublished"  # a private key alone: does nothing
    PLATFORM = "platform"  # somebody else's, which is only read


@dataclass(frozen=True)
class Entry:
    """A key by its files. made: when, or for a name that does not say so when its file was last written.
    expires: when the last token under a retiring key does; None where that is not known.
    """

    name: str
    state: State
    public: Path | None
    private: tuple[Path, ...]
    made: datetime
    expires: datetime | None = None


class KeyRing:
    """The keys of a directory as its administrator sees them.

    owner: what the names of own keys begin with. lifetime_s: how long a token that they sign is valid at most.
    now: the clock, in seconds.
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
        """The time, to the second."""
        return datetime.fromtimestamp(int(self._now()), UTC)

    def entries(self) -> list[Entry]:
        """Every key, own ones first and oldest first. Raises: KeyException for a directory that cannot be read."""
        public: dict[str, Path] = {}
        private: dict[str, tuple[Path, ...]] = {}
        for file in self._files():
            kind = kind_of(file)
            if kind == "public":
                public[file.stem] = file
            elif kind == "private":
                private[file.stem] = (*private.get(file.stem, ()), file)
        try:
            rotations = self.audit.last("rotate")
        except OSError as err:
            raise KeyException(str(self.audit.path), f"cannot be read: {err.strerror}") from err
        own = own_names(public.keys() | private.keys(), self.owner)
        others = sorted((public.keys() | private.keys()) - set(own))
        found: list[Entry] = []
        for name in [*own, *others]:
            state = State.PLATFORM
            expires = None
            if name in own:
                state = _state(name in public, name in private, any(e.state is State.ACTIVE for e in found))
            if state is State.RETIRING:
                expires = time_of_stamp(rotations.get(name, {}).get("expires"))
            files = [*private.get(name, ()), *([public[name]] if name in public else [])]
            found.append(Entry(name, state, public.get(name), private.get(name, ()), self._made(name, files), expires))
        return found

    def own(self, state: State) -> list[Entry]:
        """The keys in this state, oldest first."""
        return [entry for entry in self.entries() if entry.state is state]

    def drafts(self) -> list[Path]:
        """Files that an interrupted change has left; the next change removes them."""
        return [file for file in self._files() if file.name.startswith(f".{self.owner}") and file.suffix == DRAFT]

    def generate(self) -> str:
        """Make a pair and publish it: the first is active at once, any other is next. Returns its name.

        Raises: KeyException, also when there is a next key already.
        """
        with self._changing():
            waiting = self.own(State.NEXT)
            if waiting:
                raise KeyException(waiting[0].name, "is the next key already; sign with it: keys rotate")
            return self._generate()

    def prepare(self) -> tuple[str, str, float]:
        """Make sure that there is a next key. Returns: the active key, the next one, and for how many seconds the
        latter has been published. Raises: KeyException, also when no key is active yet.
        """
        with self._changing():
            active, following = self.own(State.ACTIVE), self.own(State.NEXT)
            if not active:
                raise KeyException(str(self.directory), "holds no key of this service yet; make one: keys generate")
            name = following[0].name if following else self._generate()
            made = following[0].made if following else self.now()
            return active[0].name, name, max(0.0, self._now() - made.timestamp())

    def rotate(self, active: str, following: str) -> datetime:
        """Sign with the key `following` from now on. The public half of `active` stays until the returned time, when
        its last token has expired; its private half is gone. Retiring keys whose time has come are removed, and a
        key is published for the next rotation.

        Raises: KeyException, also when somebody else has changed these keys meanwhile.
        """
        with self._changing():
            entries = {entry.name: entry for entry in self.entries()}
            was = entries.get(active)
            first = next((e.name for e in entries.values() if e.state is State.NEXT), None)
            if was is None or was.state is not State.ACTIVE or first != following:
                raise KeyException(following, "cannot follow any more: somebody else has changed the keys; keys list")
            self._require_usable(entries[following])
            expires = self.now() + timedelta(seconds=self.lifetime_s + LEEWAY_S + NOTICE_S)
            self._record("rotate", active, successor=following, expires=expires.strftime(STAMP))
            self._remove(was.private)
            for entry in self.own(State.RETIRING):
                if entry.expires is not None and entry.expires <= self.now():
                    self._record("remove", entry.name)
                    self._distrust(entry.name)
            if not self.own(State.NEXT):
                self._generate()
            return expires

    def retire(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Remove own keys at once. If none were left to sign, one is made first. Returns: for each key removed what
        that breaks. Raises: KeyException for a name that is not an own key's; nothing is removed then.
        """
        with self._changing():
            entries = {entry.name: entry for entry in self.entries()}
            names = [name.removesuffix(".pub") for name in names]
            for name in names:
                if name not in entries:
                    raise KeyException(name, "is not in this directory; see: keys list")
                if entries[name].state is State.PLATFORM:
                    raise KeyException(name, "is not this service's own: whoever put it there removes it")
            signing = [e for e in entries.values() if e.state in (State.ACTIVE, State.NEXT)]
            if signing and not any(self._is_usable(entry) for entry in signing if entry.name not in names):
                self._generate()
            told = []
            for name in dict.fromkeys(names):
                entry = entries[name]
                told.append((name, self._breaks(entry)))
                self._record("retire", name, was=str(entry.state))
                # first that it is trusted, then that it signs
                self._distrust(name)
                self._remove(entry.private)
            return told

    def _require_usable(self, entry: Entry) -> None:
        """Raises: KeyException for a pair that could not sign."""
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

    def _breaks(self, entry: Entry) -> str:
        if entry.state is State.ACTIVE:
            return f"every token it has signed is refused; they were valid for {self.lifetime_s:.0f} s"
        if entry.state is State.RETIRING and (entry.expires is None or entry.expires > self.now()):
            until = f", the last of which would have expired at {entry.expires:%Y-%m-%d %H:%M:%S}Z"
            return "every token it has signed is refused" + (until if entry.expires else "")
        return "nothing: no token of it was valid"

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """While nobody else changes keys. Whatever the system refuses is told as a KeyException."""
        self._files()  # or the lock would be named, and not the directory
        lock = self.directory / f".{self.owner}.lock"
        try:
            with locked(lock):
                for draft in self.drafts():
                    draft.unlink()
                yield
        except OSError as err:
            named = str(err.filename or lock)
            named = str(self.directory) if named == str(lock) else named
            raise KeyException(named, f"cannot be changed: {err.strerror}") from err

    def _generate(self) -> str:
        # a name is never used twice, also not for a key that is gone: whoever has kept a copy would mistake it
        known = own_names({e.name for e in self.entries()} | self.audit.last("generate").keys(), self.owner)
        last = time_of_stamp(known[-1].removeprefix(f"{self.owner}-")) if known else None
        try:
            made = self.now() if last is None else max(self.now(), last + timedelta(seconds=1))
        except OverflowError as err:
            raise KeyException(known[-1], "is named for a time after which none can follow; remove it") from err
        name = f"{self.owner}-{made.strftime(STAMP)}"
        self._record("generate", name)
        write_key_pair(self.directory, name)
        return name

    def _made(self, name: str, files: Sequence[Path]) -> datetime:
        return time_of_making(name, self.owner, files) or self.now()  # gone this very moment

    def _record(self, action: str, name: str, **more: str) -> None:
        self.audit.record(action, name, self.now().strftime(STAMP), **more)

    def _distrust(self, name: str) -> None:
        """Remove the public key of this name, in every spelling of its file's."""
        self._remove([file for file in self._files() if file.stem == name and kind_of(file) == "public"])

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
