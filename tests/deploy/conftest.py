"""The engine and what is built on it, for every test of deployment."""

from tests.deploy.engine import context, engine, loaner_image
from tests.deploy.ssh_host import ssh_host

__all__ = ["context", "engine", "loaner_image", "ssh_host"]
