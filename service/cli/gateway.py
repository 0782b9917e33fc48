"""Commands for the gateway: register, unregister, and show the state."""

from collections.abc import Iterator, Sequence
from typing import Literal

import click

from service.cli.misplaced_option import AdvisingGroup
from service.errors import SettingsError
from service.gateway.competing_routes import Competitor
from service.gateway.declarative import FORMATS, export
from service.gateway.definition import Definition
from service.gateway.diff import Change
from service.gateway.kong import GatewayState
from service.runtime.gateway_setup import build_definition, build_registrator, check_proxy

TIMEOUT_S = 5  # shorter than at a start, because a person waits

_DRY_RUN = click.option("--dry-run", is_flag=True, help="Show the changes without applying them.")


@click.command("register")
@_DRY_RUN
@click.option("--adopt", is_flag=True, help="Take over a service or route of this name that has another owner.")
@click.pass_context
def register_command(ctx: click.Context, dry_run: bool, adopt: bool) -> None:
    """Register the service with the gateway (API_GATEWAY_URL).

    A start of the service does the same. Without changes, nothing is written.
    """
    settings, _ = ctx.obj
    registrator, definition = build_registrator(settings.gateway).with_timeout(TIMEOUT_S), build_definition(settings)
    _print_changes(registrator.reconcile(definition, dry_run=dry_run, adopt=adopt))
    for competitor in registrator.competitors(definition):
        click.echo(f"Warning: {competitor}", err=True)


@click.command("unregister")
@_DRY_RUN
@click.pass_context
def unregister_command(ctx: click.Context, dry_run: bool) -> None:
    """Remove the service from the gateway (API_GATEWAY_URL).

    Removes only what this service owns.
    """
    settings, _ = ctx.obj
    _print_changes(
        build_registrator(settings.gateway)
        .with_timeout(TIMEOUT_S)
        .unregister(build_definition(settings), dry_run=dry_run)
    )


@click.group("gateway", cls=AdvisingGroup)
def gateway_group() -> None:
    """Inspect the registration with the gateway (API_GATEWAY_URL)."""


@gateway_group.command("status")
@click.pass_context
def status_command(ctx: click.Context) -> None:
    """Show whether calls arrive at the service.

    Compares the gateway with the declaration, reads the routes of other services and, with GATEWAY_PROXY_URL, checks
    that instances of this service answer calls through the proxy. Exits with status 1 if something keeps calls away.
    """
    settings, _ = ctx.obj
    registrator, definition = build_registrator(settings.gateway).with_timeout(TIMEOUT_S), build_definition(settings)
    click.echo(f"gateway   {registrator.redacted_url}, Kong {registrator.version()}")
    state, competitors = registrator.inspect(definition, lenient=True), registrator.competitors(definition)
    for line in _describe(definition, state, competitors):
        click.echo(line)
    routed = True
    try:
        found = check_proxy(settings, TIMEOUT_S)
        if found is not None:
            click.echo(f"proxy     {found}")
    except SettingsError as err:
        routed = False
        click.echo(f"proxy     {err}")
    if state.changes or not routed or any(competitor.takes_calls for competitor in competitors):
        ctx.exit(1)


def _describe(definition: Definition, state: GatewayState, competitors: Sequence[Competitor]) -> Iterator[str]:
    yield f"declared  {'up to date' if not state.changes else 'differs:'}"
    yield from map(str, state.changes)
    if state.declaration not in (None, definition.declaration_tag):
        yield "release   another release has declared the service"
    for text in state.kept:
        yield f"kept      {text}"
    for target in state.targets:
        yield f"target    {target}"
    for competitor in competitors:
        yield f"route     {competitor}"


@gateway_group.command("export")
@click.option(
    "--for",
    "reader",
    type=click.Choice(["kong", "deck"]),
    default="kong",
    show_default=True,
    help="The program that reads the file: Kong without a database, or decK.",
)
@click.option(
    "--format-version",
    type=click.Choice(list(FORMATS)),
    default="3.0",
    show_default=True,
    help="Version of the format: 3.0 for Kong 3, 2.1 for Kong 2, 1.1 for Kong 1.",
)
@click.option(
    "--target", "targets", multiple=True, metavar="HOST:PORT", help="An instance, for an upstream; repeat it."
)
@click.pass_context
def export_command(
    ctx: click.Context, reader: Literal["kong", "deck"], format_version: str, targets: Sequence[str]
) -> None:
    """Print what the gateway is to have, as a file in YAML.

    Needs no gateway. The file contains the secrets of GATEWAY_PLUGINS.
    """
    settings, _ = ctx.obj
    click.echo(export(build_definition(settings), format_version, reader, targets), nl=False)


def _print_changes(changes: Sequence[Change]) -> None:
    for change in changes:
        click.echo(str(change))
    if not changes:
        click.echo("no changes")
