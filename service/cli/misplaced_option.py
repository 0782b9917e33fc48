"""Names the commands that have an option which was written before the command."""

from collections.abc import Iterator

import click


class AdvisingGroup(click.Group):
    """A group of commands that says where an option belongs that it does not have."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options of the group, and explain one that belongs to a command."""
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as err:
            names = list(_commands_with(err.option_name, self))
            if not names:
                raise
            group = f"{ctx.info_name} " if ctx.parent else ""
            advice = " or ".join(f"{group}{name} {err.option_name}" for name in names)
            raise click.UsageError(
                f"No such option '{err.option_name}'. It belongs after the command: {advice}", err.ctx
            ) from err


def _commands_with(option: str, group: click.Group) -> Iterator[str]:
    """Yield the commands of a group, at any depth, that have an option."""
    for name, command in group.commands.items():
        if any(option in each.opts for each in command.params):
            yield name
        if isinstance(command, click.Group):
            yield from (f"{name} {below}" for below in _commands_with(option, command))
