"""The option `--standalone`, which is accepted before and after the name of a command."""

from collections.abc import Mapping

import click

from service.observability.logging import configure_logging
from service.settings import Settings, load_settings

_NAME = "--standalone"


def load_context(is_standalone: bool) -> tuple[Settings, bool]:
    """Read the settings, configure logging, and return what commands find in `ctx.obj`."""
    settings = load_settings(defaults_of(is_standalone))
    configure_logging(settings.server.log_level, settings.server.log_format)
    return settings, is_standalone


def defaults_of(is_standalone: bool) -> Mapping[str, object]:
    """Return the defaults that a standalone run replaces, by name in lower case."""
    if not is_standalone:
        return {}
    from service.standalone.environment import STANDALONE_DEFAULTS

    return STANDALONE_DEFAULTS


def accept_standalone(command: click.Command) -> click.Command:
    """Add the option to a command and to its sub-commands."""
    command.params.append(
        click.Option(
            [_NAME],
            is_flag=True,
            expose_value=False,
            callback=_switch,
            help="Use the PostgreSQL of standalone runs.",
        )
    )
    if isinstance(command, click.Group):
        for each in command.commands.values():
            accept_standalone(each)
    return command


def _switch(ctx: click.Context, _: click.Parameter, is_given: bool) -> None:
    root = ctx.find_root()
    if is_given and not ctx.resilient_parsing and not root.obj[1]:
        before, root.obj = root.obj, load_context(True)
        if ctx.obj is before:  # not what a group has opened, such as the keys
            ctx.obj = root.obj
