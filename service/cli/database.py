"""Which Postgres a command works on."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from service.settings import Settings


@contextmanager
def database_of(ctx: click.Context, alone: bool = False) -> Iterator[Settings]:
    """Settings that name a running Postgres: the production one, or that of a standalone run."""
    settings, asked_alone = ctx.obj
    if asked_alone or alone:
        from service.standalone.environment import standalone

        with standalone(settings) as chosen:
            yield chosen
    else:
        yield settings
