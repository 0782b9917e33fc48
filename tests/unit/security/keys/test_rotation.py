"""Rotation of own keys: states, the audit log, and interruptions at any point."""

import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from security import KeyException, KeyStore
from security.keys.check import check
from security.keys.generation import write_key_pair
from security.keys.rotation import KeyRing, State
from security.keys.signing_key import SigningKeys
from tests.conftest import ROOT
from tests.fakes.clocks import Clock


@pytest.fixture
def clock():
    return Clock(1_800_000_000.0)


@pytest.fixture
def ring(tmp_path, clock, keys_dir):
    """A directory with a key of the platform and an own key."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    shutil.copy(keys_dir / "default.pub", folder)
    ring = KeyRing(folder, "loaner", lifetime_s=600, now=clock)
    ring.generate()
    return ring


def states(ring) -> list[tuple[str, str]]:
    return [(entry.name, str(entry.state)) for entry in ring.entries()]


def rotate(ring) -> tuple[str, str]:
    active, following, _ = ring.prepare()
    ring.rotate(active, following)
    return active, following


def problems(ring) -> list[str]:
    return [f"{finding.name}: {finding.advice}" for finding in check(ring) if finding.is_problem]


def test_first_key_is_active_and_second_is_next(ring):
    first = ring.own(State.ACTIVE)[0].name
    second = ring.generate()
    assert states(ring) == [(first, "active"), (second, "next"), ("default", "platform")]
    with pytest.raises(KeyException, match=f"{second}: is already the next key"):
        ring.generate()
    assert stat.S_IMODE((ring.directory / first).stat().st_mode) == 0o600
    assert problems(ring) == []


def test_creation_time_is_read_from_the_name(ring, clock):
    entry = ring.own(State.ACTIVE)[0]
    assert entry.name == "loaner-20270115T080000Z"
    assert entry.created_at.timestamp() == clock.now
    platform = next(entry for entry in ring.entries() if entry.state is State.PLATFORM)
    assert platform.created_at.timestamp() == int((ring.directory / "default.pub").stat().st_mtime)


def test_rotation_keeps_the_old_public_key_until_its_last_token_expires(ring, clock):
    clock.now += 1
    active, following, published_s = ring.prepare()
    assert (states(ring)[:2], published_s) == ([(active, "active"), (following, "next")], 0)
    clock.now += 60
    assert ring.prepare() == (active, following, 60)
    expires = ring.rotate(active, following)
    assert expires.timestamp() == clock.now + 600 + 10  # token lifetime + clock leeway + time to notice
    third = ring.own(State.NEXT)[0].name
    assert states(ring)[:3] == [(active, "retiring"), (following, "active"), (third, "next")]
    assert ring.own(State.RETIRING)[0].expires == expires
    clock.now += 609
    rotate(ring)
    assert (active, "retiring") in states(ring)
    clock.now += 1
    rotate(ring)
    assert active not in dict(states(ring))


def test_concurrent_rotation_is_detected(ring):
    active, following, _ = ring.prepare()
    other = KeyRing(ring.directory, "loaner", 600)
    rotate(other)
    before = states(ring)
    with pytest.raises(KeyException, match="another process has changed the keys"):
        ring.rotate(active, following)
    assert states(ring) == before


def test_names_are_never_reused(ring):
    names = {ring.own(State.ACTIVE)[0].name}
    for _ in range(3):  # within the same second
        ring.retire([ring.own(State.ACTIVE)[0].name])
        name = ring.own(State.ACTIVE)[0].name
        assert name not in names
        names.add(name)


def test_next_key_signs_after_the_active_one_is_retired(ring):
    first, second = ring.own(State.ACTIVE)[0].name, ring.generate()
    [(name, breaks)] = ring.retire([first])
    assert name == first
    assert "every token it has signed is rejected; tokens are valid for 600 s" in breaks
    assert not list(ring.directory.glob(f"{first}*"))
    assert ring.own(State.ACTIVE)[0].name == second


def test_retiring_all_signing_keys_creates_another_first(ring):
    first, second = ring.own(State.ACTIVE)[0].name, ring.generate()
    removed = ring.retire([first, second])
    assert [name for name, _ in removed] == [first, second]
    assert "nothing" in removed[1][1]
    [active] = ring.own(State.ACTIVE)
    assert active.name not in (first, second)


def test_impact_of_a_retiring_key_depends_on_its_expiry(ring, clock):
    old, _ = rotate(ring)
    early = KeyRing(shutil.copytree(ring.directory, ring.directory / "copy"), "loaner", 600, clock)
    assert "would have expired at 2027-01-15 08:10:10Z" in early.retire([old])[0][1]
    clock.now += 611
    assert "nothing" in ring.retire([old])[0][1]


@pytest.mark.parametrize(
    ("name", "reason"), [("default", "is not a key of this service"), ("unknown", "is not in this directory")]
)
def test_keys_of_others_are_never_removed(ring, name, reason):
    own = ring.own(State.ACTIVE)[0].name
    before = sorted(path.name for path in ring.directory.iterdir())
    with pytest.raises(KeyException, match=f"key {name}: {reason}"):
        ring.retire([own, name])
    assert sorted(path.name for path in ring.directory.iterdir()) == before


def test_manually_created_key_is_rotated(tmp_path):
    write_key_pair(tmp_path, "loaner")
    (tmp_path / "loaner").rename(tmp_path / "loaner.pem")
    ring = KeyRing(tmp_path, "loaner", 600)
    _, following = rotate(ring)
    assert states(ring)[:2] == [("loaner", "retiring"), (following, "active")]
    assert not (tmp_path / "loaner.pem").exists()


def test_every_change_is_in_the_audit_log(ring):
    rotate(ring)
    ring.retire([ring.own(State.ACTIVE)[0].name])
    lines = [json.loads(line) for line in (ring.directory / "loaner.log").read_text().splitlines()]
    assert [line["action"] for line in lines] == ["generate", "generate", "rotate", "generate", "retire"]
    assert all(line["at"] and "@" in line["by"] and line["key"].startswith("loaner-") for line in lines)
    assert "BEGIN" not in (ring.directory / "loaner.log").read_text()


def test_incomplete_audit_line_is_skipped(ring):
    with (ring.directory / "loaner.log").open("a") as file:
        file.write('{"at": "2027')
    old, _ = rotate(ring)
    assert next(entry.expires for entry in ring.entries() if entry.name == old) is not None


def test_concurrent_changes_leave_valid_keys(ring):
    def work(number: int) -> None:
        own_ring = KeyRing(ring.directory, "loaner", 600)
        for _ in range(4):
            try:
                if number % 3 == 0:
                    own_ring.generate()
                elif number % 3 == 1:
                    rotate(own_ring)
                else:
                    own_ring.retire([own_ring.own(State.ACTIVE)[0].name])
            except (KeyException, IndexError):
                pass

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert problems(ring) == []
    assert len(ring.own(State.ACTIVE)) == 1
    assert SigningKeys(KeyStore(ring.directory), "loaner").current()
    for line in (ring.directory / "loaner.log").read_text().splitlines():
        json.loads(line)


def test_missing_directory_is_named(ring):
    shutil.rmtree(ring.directory)
    with pytest.raises(KeyException, match="keys: is not a readable directory"):
        ring.generate()


def test_files_written_by_root_belong_to_the_owner_of_the_directory(ring):
    if os.geteuid():
        pytest.skip("needs root")
    os.chown(ring.directory, 12345, 12346)
    name = ring.generate()
    for file in (ring.directory / name, ring.directory / f"{name}.pub"):
        assert (file.stat().st_uid, file.stat().st_gid) == (12345, 12346)


# Performs an action in a copy of a directory and is killed at its n-th file system operation, for each n until the
# action completes.
KILLED = """
    import os, shutil, signal, sys
    from cryptography.hazmat.primitives.asymmetric import rsa
    from security.keys.rotation import KeyRing, State
    generated = [rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2)]
    rsa.generate_private_key = lambda **_: generated.pop()
    source, target, action = sys.argv[1:]
    operations = {"open", "os.remove", "os.rename", "os.chmod", "os.chown", "os.listdir", "os.scandir"}
    for n in range(1, 500):
        copy = shutil.copytree(source, f"{target}/{n:03}")
        os.chmod(copy, 0o700)
        child = os.fork()
        if child == 0:
            left = n
            def hook(event, arguments):
                global left
                if event in operations:
                    left -= 1
                    if left == 0:
                        os.kill(os.getpid(), signal.SIGKILL)
            ring = KeyRing(copy, "loaner", 600)
            sys.addaudithook(hook)
            if action == "rotate":
                active, following, _ = ring.prepare()
                ring.rotate(active, following)
            else:
                ring.retire([ring.own(State.ACTIVE)[0].name])
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            sys.exit()
"""


@pytest.mark.parametrize("action", ["rotate", "retire"])
def test_kill_at_any_point_leaves_a_usable_directory(ring, tmp_path, action, report_measurement, monkeypatch):
    before = SigningKeys(KeyStore(ring.directory), "loaner").current()
    token = jwt.encode({"sub": "a"}, before.key, algorithm="RS256")
    killed = tmp_path / "killed"
    killed.mkdir()
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(ring.directory), str(killed), action],
        cwd=ROOT, check=True, timeout=100,
    )  # fmt: skip
    keys = cycle([rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(4)])
    monkeypatch.setattr(rsa, "generate_private_key", lambda **_: next(keys))
    copies = sorted(killed.iterdir())
    assert len(copies) > 10
    advice = set()
    for number, copy in enumerate(copies):
        reopened = KeyRing(copy, "loaner", 600)
        signing = SigningKeys(KeyStore(copy), "loaner").current()
        assert signing is not None, copy
        trusted = KeyStore(copy).verification_keys()
        if action != "retire":
            jwt.decode(token, trusted[before.kid].key, algorithms=["RS256"])
        elif before.kid in trusted:
            assert signing.kid == before.kid
        for finding in check(reopened):
            if finding.is_problem:
                advice.add(finding.advice.partition(";")[0])
                assert "the next change removes it" in finding.advice or "keys retire" in finding.advice
                if "keys retire" in finding.advice:
                    reopened.retire([finding.advice.partition("keys retire ")[2].split()[0]])
        if number % 3 == 0:  # rotating a third of the copies keeps the test fast
            rotate(reopened)
            assert problems(reopened) == [], copy
    if action != "retire":  # kills hit both kinds of intermediate states
        assert advice == {"is left over from an interrupted change", "has no public half, so it is not used"}
    report_measurement(f"keys {action}: killed at {len(copies) - 1} points, usable after each")


@pytest.mark.parametrize("suffix", ["", ".pub"])
def test_rotation_to_an_unusable_pair_fails(ring, suffix):
    active, following = ring.own(State.ACTIVE)[0].name, ring.generate()
    (ring.directory / f"{following}{suffix}").write_bytes(b"")
    with pytest.raises(KeyException, match=following):
        rotate(ring)
    assert ring.own(State.ACTIVE)[0].name == active
    ring.retire([active])
    signing = SigningKeys(KeyStore(ring.directory, strict=False), "loaner").current()
    assert signing.kid not in (active, following)


def test_mismatched_next_pair_is_named(ring):
    following = ring.generate()
    shutil.copy(ring.directory / "default.pub", ring.directory / f"{following}.pub")
    with pytest.raises(KeyException, match=f"is not the private half of {following}.pub"):
        rotate(ring)


def test_public_suffix_is_case_insensitive_when_retiring(ring):
    name = ring.own(State.ACTIVE)[0].name
    shutil.copy(ring.directory / f"{name}.pub", ring.directory / f"{name}.PUB")
    ring.retire([f"{name}.pub"])
    assert not list(ring.directory.glob(f"{name}*"))


def test_latest_possible_timestamp_is_named(ring):
    for suffix in ("", ".pub"):
        (ring.directory / f"loaner-99991231T235959Z{suffix}").touch()
    ring.retire([ring.own(State.NEXT)[0].name])
    write_key_pair(ring.directory, "loaner-99991231T235959Z")
    ring.retire([ring.own(State.ACTIVE)[0].name])
    with pytest.raises(KeyException, match="latest possible timestamp"):
        ring.generate()


def test_audit_log_must_be_a_regular_file_of_the_owner(ring, tmp_path):
    log = ring.directory / "loaner.log"
    if os.geteuid() == 0:
        os.chown(ring.directory, 12345, 12346)
        log.unlink()
        ring.generate()
        assert log.stat().st_uid == 12345
    log.unlink()
    log.symlink_to(tmp_path / "victim")
    with pytest.raises(KeyException, match=r"loaner\.log"):
        ring.retire([ring.own(State.ACTIVE)[0].name])
    assert not (tmp_path / "victim").exists()
    log.unlink()
    os.mkfifo(log)
    with pytest.raises(KeyException, match="is not a regular file"):
        ring.retire([ring.own(State.ACTIVE)[0].name])
    assert len(ring.own(State.ACTIVE)) == 1


def test_lock_file_is_private(ring):
    assert stat.S_IMODE((ring.directory / ".loaner.lock").stat().st_mode) == 0o600
