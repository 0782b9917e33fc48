"""Commands for clients and tokens."""

from collections.abc import Sequence
from pathlib import Path

import click

from service.cli.misplaced_option import AdvisingGroup
from service.settings import TokenSettings
from service.tokens.client_registry import open_clients
from service.tokens.clients_file import add_client, check_words, remove_client
from service.tokens.issuer import READ, Subject
from service.tokens.key_setup import open_issuer


@click.group("client", cls=AdvisingGroup)
@click.pass_context
def client_group(ctx: click.Context) -> None:
    """Manage the clients of /token (CLIENTS_FILE)."""
    settings, _ = ctx.obj
    ctx.obj = settings.tokens


@client_group.command("add")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, default=READ, show_default=True, help="Scope it may request. Repeatable."
)
@click.option("--role", "roles", multiple=True, help="Microkubes role in its tokens. Repeatable.")
@click.option("--organization", "organizations", multiple=True, help="Organization in its tokens. Repeatable.")
@click.option("--namespace", "namespaces", multiple=True, help="Namespace in its tokens. Repeatable.")
@click.pass_obj
def add_command(
    settings: TokenSettings,
    name: str,
    scopes: tuple[str, ...],
    roles: tuple[str, ...],
    organizations: tuple[str, ...],
    namespaces: tuple[str, ...],
) -> None:
    """Create the client NAME and print its secret.

    The secret is printed only once: the clients file has its hash.
    """
    if name == settings.client_id:
        raise click.BadParameter(f"{name} is already defined by CLIENT_ID", param_hint="NAME")
    path = Path(settings.clients_file)
    secret = add_client(path, Subject(name, scopes, roles, organizations, namespaces))
    click.echo(f"client_id      {name}\nclient_secret  {secret}")
    click.echo(f"Store the secret now; {path} has only its hash.", err=True)


@client_group.command("list")
@click.pass_obj
def list_command(settings: TokenSettings) -> None:
    """List all clients and their scopes."""
    for client in open_clients(settings).by_name().values():
        click.echo(f"{client.client_id}  {' '.join(client.scopes)}")


@client_group.command("remove")
@click.argument("name")
@click.pass_obj
def remove_command(settings: TokenSettings, name: str) -> None:
    """Remove the client NAME.

    Its tokens stay valid until they expire.
    """
    remove_client(Path(settings.clients_file), name)
    click.echo(f"removed {name}; its tokens stay valid until they expire")


@click.command("token")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, help="Scope of the token. Repeatable.  [default: all of NAME]")
@click.pass_context
def token_command(ctx: click.Context, name: str, scopes: Sequence[str]) -> None:
    """Issue a token for the client or person NAME.

    No secret is required. A client's token has the client's scopes and roles; a person's token has the scope api:read
    unless --scope says otherwise.
    """
    settings, _ = ctx.obj
    if not name.strip() or not name.isprintable():
        raise click.BadParameter("expected the name of a client or person", param_hint="NAME")
    client = open_clients(settings.tokens).by_name().get(name)
    subject = client.subject() if client else Subject(name, check_words("scope", scopes) or READ)
    if not client:
        click.echo(f"{name} is not in {settings.tokens.clients_file}; issuing a token for a person", err=True)
    if not set(scopes) <= set(subject.scopes):
        raise click.BadParameter(f"client {name} may only request {' '.join(subject.scopes)}", param_hint="--scope")
    click.echo(open_issuer(settings.tokens, settings.service.name).issue(subject, scopes or None))
