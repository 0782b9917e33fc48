"""Commands about the gateway: what registering would change, doing it, undoing it, and how things stand."""

from collections.abc import Sequence

import click

from service.errors import SettingsError
from service.gateway.diff import Change
from service.runtime.gateway_setup import build_definition, build_registrator, check_routed

TIMEOUT_S = 5  # a person waits

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Only show what would change.")


@click.command("register")
@_DRY_RUN
@click.option("--adopt", is_flag=True, help="Take over a service or route of this name that somebody else owns.")
@click.pass_context
def register_command(ctx: click.Context, dry_run: bool, adopt: bool) -> None:
    """Register with the gateway, as a start does (API_GATEWAY_URL)."""
    settings, _ = ctx.obj
    registrator = build_registrator(settings.gateway).with_timeout(TIMEOUT_S)
    _show(registrator.reconcile(build_definition(settings), dry_run=dry_run, adopt=adopt))


@click.command("unregister")
@_DRY_RUN
@click.pass_context
def unregister_command(ctx: click.Context, dry_run: bool) -> None:
    """Remove from the gateway all that is ours."""
    settings, _ = ctx.obj
    _show(
        build_registrator(settings.gateway)
        .with_timeout(TIMEOUT_S)
        .unregister(build_definition(settings), dry_run=dry_run)
    )


@click.group("gateway")
def gateway_group() -> None:
    """The gateway (API_GATEWAY_URL)."""


@gateway_group.command("status")
@click.pass_context
def status_command(ctx: click.Context) -> None:
    """Which gateway it is, whether it has what we declare, and whether it routes here. Status 1 if not."""
    settings, _ = ctx.obj
    registrator, definition = build_registrator(settings.gateway).with_timeout(TIMEOUT_S), build_definition(settings)
    click.echo(f"gateway   {registrator.redacted_url}, Kong {registrator.version()}")
    changes = registrator.reconcile(definition, dry_run=True)
    click.echo(f"declared  {'as it should be' if not changes else 'differs:'}")
    for change in changes:
        click.echo(str(change))
    for target in registrator.targets(definition):
        click.echo(f"target    {target}")
    routed = True
    try:
        url = check_routed(settings, TIMEOUT_S)
        if url is not None:
            click.echo(f"proxy     {url} is routed here")
    except SettingsError as err:
        routed = False
        click.echo(f"proxy     {err}")
    if changes or not routed:
        ctx.exit(1)


def _show(changes: Sequence[Change]) -> None:
    for change in changes:
        click.echo(str(change))
    if not changes:
        click.echo("nothing to change")
