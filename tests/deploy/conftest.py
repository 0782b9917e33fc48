"""The engine and what is built on it, for every test of deployment."""

from tests.deploy.engine import context, engine, loaner_image

__all__ = ["context", "engine", "loaner_image"]
