"""What is wrong with a directory of keys, and what to do about it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass

from security.errors import KeyException
from security.keys.key_file import Key
from security.keys.permissions import exposure
from security.keys.rotation import Entry, KeyRing, State
from security.keys.verification_key import VerificationKey


@dataclass(frozen=True)
class Finding:
    """name: the key or file. advice: what is the matter, and what to do. wrong: whether something has to be done."""

    name: str
    advice: str
    wrong: bool = True


def check(ring: KeyRing) -> list[Finding]:
    """Verify every key, pair, permission and leftover. Raises: KeyException for a directory that cannot be read."""
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
        found.append(Finding(str(ring.directory), "holds no public key (*.pub), so no token could be verified"))
    for entry in entries:
        found += _private(entry, trusted)
        found += _leftover(entry, ring)
    found += _twins(trusted)
    found += [
        Finding(str(draft), "was left by a change that was interrupted; the next change removes it")
        for draft in ring.drafts()
    ]
    private = [file for entry in entries for file in entry.private]
    found += [Finding(str(e.file), e.remedy, e.harmful) for e in exposure(ring.directory, private)]
    states = {entry.state for entry in entries}
    if State.ACTIVE not in states:
        found.append(Finding(str(ring.directory), "no key signs, so /token is 404; make one: keys generate", False))
    elif State.NEXT not in states:
        found.append(Finding(str(ring.directory), "no key waits to be next; publish one: keys generate", False))
    return found


def _private(entry: Entry, trusted: dict[str, VerificationKey]) -> Iterator[Finding]:
    for file in entry.private:
        if entry.state is State.PLATFORM:
            yield Finding(str(file), "is a private key of somebody else's; it is not needed here: remove it", False)
            continue
        try:
            key = Key(file).private_key()
        except KeyException as err:
            # whoever may not read a key cannot say that it is bad
            remedy = f"remove the key: keys retire {entry.name}" if os.access(file, os.R_OK) else "look as its owner"
            yield Finding(str(file), f"{err.reason}; {remedy}")
            continue
        public = trusted.get(entry.name)
        if public is not None and public.key != key.public_key():
            remedy = f"put the right one back, or remove the pair: keys retire {entry.name}"
            yield Finding(str(file), f"is not the private half of {entry.name}.pub; {remedy}")
    if len(entry.private) > 1:
        yield Finding(entry.name, f"has two private files, {' and '.join(map(str, entry.private))}; remove one of them")


def _leftover(entry: Entry, ring: KeyRing) -> Iterator[Finding]:
    if entry.state is State.UNPUBLISHED:
        file = entry.private[0]
        yield Finding(
            str(file),
            f"has no public half, so it does nothing; remove it: keys retire {entry.name}"
            f" (or publish it: openssl pkey -in {file} -pubout -out {ring.directory / entry.name}.pub)",
        )
    elif entry.state is State.RETIRING and entry.expires is None:
        yield Finding(
            entry.name,
            f"verifies tokens and signs none, and nobody has recorded since when; once that is more than"
            f" {ring.lifetime_s:.0f} s ago, remove it: keys retire {entry.name}",
            False,
        )
    elif entry.state is State.RETIRING and entry.expires is not None and entry.expires <= ring.now():
        yield Finding(
            entry.name,
            f"its last token has expired at {entry.expires:%Y-%m-%d %H:%M:%S}Z; remove it: keys retire {entry.name}"
            " (the next rotation does so as well)",
            False,
        )


def _twins(trusted: dict[str, VerificationKey]) -> Iterator[Finding]:
    seen: list[VerificationKey] = []
    for key in trusted.values():
        for other in seen:
            if other.key == key.key:
                advice = f"is the same key as {other.name}.pub: it stays trusted until both are gone"
                yield Finding(f"{key.name}.pub", advice)
        seen.append(key)
