"""The command that asks a running service."""

import click

from service.cli.probe_client import probe


@click.command("probe")
@click.argument("url")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="Certificates to check the service's against.")
@click.pass_context
def probe_command(ctx: click.Context, url: str, ca: str | None) -> None:
    """Ask the service at URL for a token (CLIENT_ID, SECRET), and use it. `helm test` does this."""
    settings, _ = ctx.obj
    status = probe(url, settings.tokens, ca)
    click.echo(
        f"{settings.tokens.client_id} got a token, and it counts: loaner {status['version']} at {url}, database ok"
    )
