"""The rules across settings, and about the files that they name, that stop a start."""

from collections.abc import Callable, Iterator
from functools import partial

from service.errors import SettingsError
from service.postgres.connect import parse_configured_hosts
from service.runtime.gateway_setup import check_gateway_settings
from service.runtime.tls import read_certificate
from service.settings import Settings
from service.tokens.client_registry import open_clients
from service.tokens.key_setup import check_keys


def broken_rules(settings: Settings, is_standalone: bool) -> list[str]:
    """Return what would stop a start with these settings, each with the name of a setting. Nothing is sent.

    Args:
        settings: The settings, each of them valid on its own.
        is_standalone: Whether the start is that of a standalone run, which makes what it needs.
    """
    found = (_message(rule) for rule in _rules(settings, is_standalone))
    return [message for message in found if message is not None]


def _rules(settings: Settings, is_standalone: bool) -> Iterator[Callable[[], object]]:
    from service.cache import open_memcached  # it imports the core, which other commands do without

    yield partial(read_certificate, settings.tls)
    yield partial(open_clients, settings.tokens)
    yield partial(open_memcached, settings.memcached)
    if is_standalone:
        return
    yield partial(parse_configured_hosts, settings.postgres)
    yield partial(check_keys, settings.tokens)
    if settings.service.discovery != "none":
        yield partial(check_gateway_settings, settings)
    if settings.uses_vault:
        from service.vault.login import open_vault, read_login

        yield partial(open_vault, settings.vault)
        yield partial(read_login, settings.vault)


def _message(rule: Callable[[], object]) -> str | None:
    try:
        rule()
    except SettingsError as err:
        return str(err)
    return None
