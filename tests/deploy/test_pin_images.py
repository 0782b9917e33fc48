"""deploy/pin-images.sh pins every image of another project, and changes nothing else."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = ("docker-compose.yml", "deploy/docker/Dockerfile")
DOCKER = """#!/bin/sh
[ "$1 $2 $3 $4" = "buildx imagetools inspect --format" ] || exit 9
echo "$6" >>"$(dirname "$0")/asked"
cat "$(dirname "$0")/digest"
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "docker").write_text(DOCKER)
    (tmp_path / "bin" / "docker").chmod(0o755)
    for file in FILES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / file)
    return tmp_path


def pin(folder: Path, digest: str) -> subprocess.CompletedProcess:
    (folder / "bin" / "digest").write_text(digest)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    command = [ROOT / "deploy" / "pin-images.sh", folder]
    return subprocess.run(command, env={"PATH": path}, capture_output=True, text=True)


def unpinned(folder: Path) -> list[str]:
    return [re.sub(r"@sha256:[0-9a-f]{64}", "", (folder / file).read_text()) for file in FILES]


def test_every_image_is_pinned_and_can_be_renewed(folder):
    before = unpinned(folder)
    for letter in "ab":
        digest = f"sha256:{letter * 64}"
        assert pin(folder, digest).returncode == 0
        assert unpinned(folder) == before
        images = re.findall(r"(?m)^ +image: (?!loaner:)(.*)$", (folder / FILES[0]).read_text())
        images += re.findall(r"(?m)^ARG BASE=(.*)$", (folder / FILES[1]).read_text())
        assert len(images) > 8
        assert all(re.fullmatch(rf"[a-z/-]+:[0-9a-z.-]+@{digest}", image) for image in images), images
    asked = (folder / "bin" / "asked").read_text().split()
    assert not any("@" in image for image in asked)


def test_a_reply_that_is_no_digest_is_an_error(folder):
    before = [(folder / file).read_text() for file in FILES]
    done = pin(folder, "unauthorized")
    assert done.returncode == 1
    assert "expected a digest, got: unauthorized" in done.stderr
    assert [(folder / file).read_text() for file in FILES] == before
