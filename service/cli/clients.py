"""Commands about who gets tokens."""

from collections.abc import Sequence
from pathlib import Path

import click

from service.settings import TokenSettings
from service.tokens.client_registry import open_clients
from service.tokens.clients_file import add_client, checked_words, remove_client
from service.tokens.issuer import READ, Subject
from service.tokens.key_setup import open_issuer


@click.group("client")
@click.pass_context
def client_group(ctx: click.Context) -> None:
    """The clients that may ask for tokens at /token (CLIENTS_FILE)."""
    settings, _ = ctx.obj
    ctx.obj = settings.tokens


@client_group.command("add")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, default=READ, show_default=True, help="What it may ask for; repeatable."
)
@click.option("--role", "roles", multiple=True, help="A Microkubes role that its tokens carry; repeatable.")
@click.option("--organization", "organizations", multiple=True, help="An organization; repeatable.")
@click.option("--namespace", "namespaces", multiple=True, help="A namespace; repeatable.")
@click.pass_obj
def add_command(
    settings: TokenSettings,
    name: str,
    scopes: tuple[str, ...],
    roles: tuple[str, ...],
    organizations: tuple[str, ...],
    namespaces: tuple[str, ...],
) -> None:
    """Make a client and show its secret, once: only a hash of it is kept."""
    if name == settings.client_id:
        raise click.BadParameter(f"{name} is the client of the settings (CLIENT_ID)", param_hint="NAME")
    path = Path(settings.clients_file)
    secret = add_client(path, Subject(name, scopes, roles, organizations, namespaces))
    click.echo(f"client_id      {name}\nclient_secret  {secret}")
    click.echo(f"It is not shown again: {path} keeps only its hash.", err=True)


@client_group.command("list")
@click.pass_obj
def list_command(settings: TokenSettings) -> None:
    """Every client and what it may ask for."""
    for client in open_clients(settings).by_name().values():
        click.echo(f"{client.client_id}  {' '.join(client.scopes)}")


@client_group.command("remove")
@click.argument("name")
@click.pass_obj
def remove_command(settings: TokenSettings, name: str) -> None:
    """Remove a client. Tokens that it has stay valid until they expire."""
    remove_client(Path(settings.clients_file), name)
    click.echo(f"{name} gets no more tokens")


@click.command("token")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="What it is for; repeatable.  [default: all that NAME may]")
@click.pass_context
def token_command(ctx: click.Context, name: str, scopes: Sequence[str]) -> None:
    """Mint a token, without asking for a secret: for the client NAME, or for a person of that name, who may read."""
    settings, _ = ctx.obj
    if not name.strip() or not name.isprintable():
        raise click.BadParameter("expected somebody's name", param_hint="NAME")
    known = open_clients(settings.tokens).by_name().get(name)
    subject = known.subject() if known else Subject(name, checked_words("scope", scopes) or READ)
    if not known:
        click.echo(f"{name} is no client of {settings.tokens.clients_file}: this is a token for a person", err=True)
    if not set(scopes) <= set(subject.scopes):
        raise click.BadParameter(f"the client {name} may ask for {' '.join(subject.scopes)} only", param_hint="--scope")
    click.echo(open_issuer(settings.tokens, settings.service.name).issue(subject, scopes or None))
