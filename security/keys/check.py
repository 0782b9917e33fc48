"""Checks of a key directory, with advice for each problem."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from security.errors import KeyException
from security.keys.key_file import Key
from security.keys.permissions import find_loose_permissions
from security.keys.rotation import Entry, KeyRing, State
from security.keys.verification_key import VerificationKey


@dataclass(frozen=True)
class Finding:
    """A result of a check.

    Args:
        name: The key or the file.
        advice: What was found, and what to do.
        is_problem: Whether action is required; otherwise the finding is a note.
    """

    name: str
    advice: str
    is_problem: bool = True


def check(ring: KeyRing) -> list[Finding]:
    """Check keys, pairs, permissions and leftovers of interrupted changes.

    Raises:
        KeyException: If the directory cannot be read.
    """
    entries = ring.entries()
    found: list[Finding] = []
    trusted: dict[str, VerificationKey] = {}
    for entry in entries:
        if entry.public is not None:
            try:
                trusted[entry.name] = Key(entry.public, public=True).verification_key(entry.name)
            except KeyException as err:
                found.append(Finding(str(entry.public), err.reason))
    if not any(entry.public for entry in entries):
        found.append(Finding(str(ring.directory), "has no public key (*.pub), so no token can be verified"))
    for entry in entries:
        found += _unusable(entry, trusted)
        found += _incomplete(entry, ring)
    found += _duplicates(trusted)
    found += [
        Finding(str(file), "is left over from an interrupted change; the next change removes it")
        for file in ring.leftovers()
    ]
    private = [file for entry in entries for file in entry.private]
    found += [Finding(str(e.file), e.remedy, e.harmful) for e in find_loose_permissions(ring.directory, private)]
    states = {entry.state for entry in entries}
    if State.ACTIVE not in states:
        found.append(
            Finding(str(ring.directory), "has no signing key, so /token returns 404; create one: keys generate", False)
        )
    elif State.NEXT not in states:
        found.append(Finding(str(ring.directory), "has no next key; publish one: keys generate", False))
    return found


def _unusable(entry: Entry, trusted: dict[str, VerificationKey]) -> Iterator[Finding]:
    for file in entry.private:
        if entry.state is State.PLATFORM:
            yield Finding(str(file), "is a private key that this service does not own or need; remove it", False)
            continue
        try:
            key = Key(file).private_key()
        except KeyException as err:
            # An unreadable file may hold a valid key, so removing it would be bad advice.
            readable = os.access(file, os.R_OK)
            remedy = f"remove the key: keys retire {entry.name}" if readable else "run the check as its owner"
            yield Finding(str(file), f"{err.reason}; {remedy}")
            continue
        public = trusted.get(entry.name)
        if public is not None and public.key != key.public_key():
            remedy = f"restore the right one, or remove the pair: keys retire {entry.name}"
            yield Finding(str(file), f"is not the private half of {entry.name}.pub; {remedy}")
    if len(entry.private) > 1:
        yield Finding(entry.name, f"has two private files, {' and '.join(map(str, entry.private))}; remove one of them")


def _incomplete(entry: Entry, ring: KeyRing) -> Iterator[Finding]:
    if entry.state is State.UNPUBLISHED:
        file = entry.private[0]
        yield Finding(
            str(file),
            f"has no public half, so it is not used; remove it: keys retire {entry.name}"
            f" (or publish it: openssl pkey -in {file} -pubout -out {ring.directory / entry.name}.pub)",
        )
    elif entry.state is State.RETIRING and entry.expires is None:
        yield Finding(
            entry.name,
            f"no longer signs, and the time of its rotation is unknown; remove it {ring.lifetime_s:.0f} s"
            f" or more after the rotation: keys retire {entry.name}",
            False,
        )
    elif entry.state is State.RETIRING and entry.expires is not None and entry.expires <= ring.now():
        yield Finding(
            entry.name,
            f"its last token expired at {entry.expires:%Y-%m-%d %H:%M:%S}Z; remove it: keys retire {entry.name}"
            " (the next rotation also does)",
            False,
        )


def _duplicates(trusted: dict[str, VerificationKey]) -> Iterator[Finding]:
    seen: list[VerificationKey] = []
    for key in trusted.values():
        for other in seen:
            if other.key == key.key:
                advice = f"is the same key as {other.name}.pub, which stays trusted until both files are removed"
                yield Finding(f"{key.name}.pub", advice)
        seen.append(key)
