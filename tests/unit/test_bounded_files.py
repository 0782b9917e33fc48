"""Files are read within bounds: a pipe, a device or a huge file neither blocks nor fills the memory."""

import os
import threading
from pathlib import Path

import pytest

from deploy.factory.errors import FactoryError
from deploy.factory.payload import _read_file
from microkubes.tools import read_config
from security import ACLProvider, KeyException, KeyStore, PolicyError
from security.files import MAX_BYTES, read_bounded
from security.keys.audit_log import KeyAudit
from security.keys.key_file import Key
from service.errors import SettingsError
from service.gateway.plugins_file import read_plugins
from service.gateway.registrator import RegistrationException
from service.runtime.tls import _content
from service.tokens.client_registry import ClientRegistry
from tests.fakes.clocks import Ticking

GIB = 1 << 30


def within(seconds: float, call):
    """Return the result of a call that must not block, or raise its error."""
    outcome = []

    def run() -> None:
        try:
            outcome.append((call(), None))
        except Exception as err:
            outcome.append((None, err))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert outcome, "the call blocks"
    result, error = outcome[0]
    if error:
        raise error
    return result


@pytest.fixture(params=["pipe", "device", "huge file", "directory", "link to a device"])
def unreadable(request, tmp_path) -> Path:
    """A path that must not be read as a file."""
    path = tmp_path / "unreadable"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        return Path("/dev/zero")
    elif request.param == "link to a device":
        path.symlink_to("/dev/zero")
    elif request.param == "directory":
        path.mkdir()
    else:
        with path.open("wb") as file:
            file.truncate(3 * GIB)  # without using the disk
    return path


def test_only_regular_files_within_the_limit_are_read(unreadable):
    descriptors = os.listdir("/proc/self/fd")
    with pytest.raises(OSError, match=r"is not a regular file|Is a directory|has more than 1000000 bytes"):
        within(5, lambda: read_bounded(unreadable))
    assert len(os.listdir("/proc/self/fd")) == len(descriptors)


def test_files_up_to_the_limit_are_read(tmp_path):
    file, link = tmp_path / "file", tmp_path / "link"
    link.symlink_to(file)
    file.write_bytes(b"x" * MAX_BYTES)
    assert len(read_bounded(link)) == MAX_BYTES
    file.write_bytes(b"x" * 11)
    assert read_bounded(file, max_bytes=11) == b"x" * 11
    with pytest.raises(OSError, match="has more than 10 bytes"):
        read_bounded(file, max_bytes=10)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "missing")


def load_key(path: Path) -> None:
    try:
        key = Key(path)
    except KeyException:
        key = object.__new__(Key)  # as if the file had been replaced after the check of its kind
        key.key_file, key.public = str(path), True
    key.load()


@pytest.mark.parametrize(
    ("read", "error"),
    [
        (load_key, KeyException),
        (ACLProvider, PolicyError),
        (ClientRegistry, SettingsError),
        (read_plugins, RegistrationException),
        (lambda path: _content("TLS_CERT", str(path)), SettingsError),
        (lambda path: _read_file("tls_ca", str(path)), FactoryError),
        (read_config, ValueError),
    ],
    ids=["key", "policies", "clients", "plugins", "certificate", "deployment", "configuration"],
)
def test_every_file_of_the_configuration_is_read_within_bounds(read, error, unreadable):
    with pytest.raises(error, match=r"is not a regular file|Is a directory|has more than \d+ bytes"):
        within(10, lambda: read(unreadable))


@pytest.mark.parametrize("kind", ["pipe", "huge file"])
def test_running_service_keeps_its_keys_beside_an_unreadable_one(keys_dir, tmp_path, caplog, kind):
    (tmp_path / "default.pub").write_bytes((keys_dir / "default.pub").read_bytes())
    store = KeyStore(tmp_path, now=Ticking())
    trusted = store.verification_keys()
    if kind == "pipe":
        os.mkfifo(tmp_path / "x.pub")
    else:
        with (tmp_path / "x.pub").open("wb") as file:
            file.truncate(3 * GIB)
    for _ in range(3):
        within(5, lambda: store.generation)
    assert store.verification_keys() == trusted
    assert caplog.text.count("keeping the current keys") == 1
    (tmp_path / "x.pub").unlink()
    within(5, lambda: store.generation)
    assert store.verification_keys() == trusted


def test_audit_log_is_read_within_bounds(tmp_path):
    with (tmp_path / "loaner.log").open("wb") as file:
        file.truncate(3 * GIB)
    with pytest.raises(OSError, match="has more than"):
        within(10, lambda: KeyAudit(tmp_path / "loaner.log").last("rotate"))
