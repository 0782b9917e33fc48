"""Fixtures for all deployment tests: the container engine, images, and an ssh host."""

from tests.deploy.engine import context, engine, loaner_image
from tests.deploy.ssh_host import ssh_host

__all__ = ["context", "engine", "loaner_image", "ssh_host"]
