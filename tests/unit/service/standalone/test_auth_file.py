"""The file `.auth`: shells and the settings read what was written, and nothing in it is executed."""

import os
import random
import shutil
import subprocess
from itertools import product

import pytest
from dotenv import dotenv_values

from service.errors import SettingsError
from service.settings import load_settings
from service.standalone.auth_file import write_auth_file

SHELLS = [shell for shell in ("sh", "bash", "dash", "zsh") if shutil.which(shell)]
SPECIAL = ["$", "`", "\\", '"', "'", "{", "}", "(", ")", "!", "#", " ", "\n", "\t", "=", ";", "&", "a", ":-", "~", "*"]


def generated_values() -> list[str]:
    generator = random.Random(12)
    values = ["".join(pair) for length in (1, 2) for pair in product(SPECIAL, repeat=length)]
    values += [
        "".join(generator.choices([*SPECIAL, "HOME", "é", "€", "🔒"], k=generator.randrange(3, 20))) for _ in range(600)
    ]
    return [
        *values, "$(touch executed)", "`touch executed`", "${HOME}", "$HOME", "${_UNSET}", "${_UNSET:-x}", "$$", "$1",
        "a'b$(touch executed)`touch executed`${HOME}\\", "; touch executed", "\\n", "\\\\", "export A=b", "",
    ]  # fmt: skip


def source(shell: str, path, options: str = "-u") -> dict[str, str]:
    command = [shell, options, "-c", '. "$0" && env -0', str(path)]
    environ = {"PATH": os.environ["PATH"], "HOME": "/home/of/the/user", "LANG": "C.UTF-8"}
    done = subprocess.run(command, cwd=path.parent, env=environ, capture_output=True, check=True)
    assert done.stderr == b""
    return dict(entry.split("=", 1) for entry in done.stdout.decode().split("\0") if entry)


@pytest.mark.parametrize("shell", SHELLS)
def test_shells_and_dotenv_read_what_was_written(tmp_path, monkeypatch, shell):
    monkeypatch.setenv("HOME", "/home/of/the/user")
    values = {f"V{number}": value for number, value in enumerate(generated_values())}
    path = tmp_path / ".auth"
    write_auth_file(path, **values)
    sourced, parsed = source(shell, path), dotenv_values(path)
    for name, value in values.items():
        assert sourced[name] == value, (name, value)
        assert parsed[name] == value, (name, value)
    assert not (tmp_path / "executed").exists()
    assert path.stat().st_mode & 0o777 == 0o600


def test_settings_read_the_same_secret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SECRET", raising=False)
    for secret in ("$(touch executed)", 'a"b\\', "it's ${HOME}`id`", "plain-secret"):
        write_auth_file(tmp_path / ".auth", CLIENT_ID="loaner-client", SECRET=secret)
        assert load_settings().tokens.client_secret.get_secret_value() == secret
    assert sorted(os.listdir(tmp_path)) == [".auth"]


def test_plain_values_are_written_as_they_are(tmp_path):
    write_auth_file(tmp_path / ".auth", JWT="eyJh.eyJi.c-_", ACCESS_TOKEN_EXPIRES="86400")
    assert (tmp_path / ".auth").read_text() == "export JWT=eyJh.eyJi.c-_\nexport ACCESS_TOKEN_EXPIRES=86400\n"


@pytest.mark.parametrize("value", ["a\0b", "a\rb", "\x1b[0m", "\udcff"])
def test_values_that_cannot_be_read_back_are_rejected(tmp_path, value):
    with pytest.raises(SettingsError, match=r"SECRET: .* cannot contain"):
        write_auth_file(tmp_path / ".auth", SECRET=value)
    assert not (tmp_path / ".auth").exists()
