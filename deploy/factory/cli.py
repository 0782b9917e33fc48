"""Command line of the factory."""

import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

import click
from rich.console import Console as Terminal

from deploy.factory.console import Console
from deploy.factory.deployment import STEPS, Deployment
from deploy.factory.errors import FactoryError
from deploy.factory.host import Host
from deploy.factory.options import DeployOptions
from deploy.factory.payload import collect, read_settings
from deploy.factory.target import Target
from security import KeyException
from service.errors import LoanerError

INTERRUPTED = 130
FILE = click.Path(path_type=Path)


@click.command()
@click.argument("target", envvar="TARGET", metavar="USER@HOST[:PORT]", required=False)
@click.option(
    "--env-file", envvar="ENV_FILE", type=FILE, help="File of settings; variables of this environment override it."
)
@click.option("--image", envvar="IMAGE", help="Deploy this local image instead of building one.")
@click.option("--build-args", envvar="BUILD_ARGS", default="", help="Additional arguments for docker build.")
@click.option("--memory", envvar="MEMORY", help="Memory limit of the container, such as 512m.")
@click.option(
    "--container", envvar="CONTAINER", default="loaner", show_default=True, help="Name of the container on the host."
)
@click.option(
    "--patience", "timeout_s", envvar="PATIENCE_S", default=150, show_default=True, type=click.IntRange(1, 3600),
    help="Seconds to wait until the container is ready.",
)  # fmt: skip
@click.option("--ssh-config", envvar="SSH_CONFIG", type=FILE, help="ssh configuration to use instead of ~/.ssh/config.")
@click.option("--dry-run", envvar="DRY_RUN", is_flag=True, help="Print the commands without running them.")
def main(
    target: str | None, env_file: Path | None, image: str | None, build_args: str, memory: str | None, container: str,
    timeout_s: int, ssh_config: Path | None, dry_run: bool,
) -> None:  # fmt: skip
    """Build the service's image, copy it to a host over ssh, and start it there with the settings of this environment.

    If the new container does not become ready, the previous one is started again. PORT is the port to publish. Every
    option can also be set as a variable: ENV_FILE, IMAGE, BUILD_ARGS, MEMORY, CONTAINER, PATIENCE_S, SSH_CONFIG,
    DRY_RUN=1.
    """
    signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        if not target:
            raise FactoryError("TARGET is not set; name the host: make factory TARGET=user@host")
        host = Host(Target.parse(target), ssh_config)
        options = DeployOptions(container, image or None, _parse_words(build_args), memory or None, timeout_s)
        settings = read_settings(env_file)
        payload = collect(settings, env_file)
        console = Console(Terminal(), list(payload.secrets.values()), STEPS)
        deployment = Deployment(options, host, settings.server, payload, console)
        if dry_run:
            deployment.print_plan()
        else:
            deployment.run()
    except (FactoryError, LoanerError, KeyException, OSError) as err:
        raise click.ClickException(str(err)) from err
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was replaced on the host", err=True)
        sys.exit(INTERRUPTED)


def _parse_words(build_args: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(build_args))
    except ValueError as err:
        raise FactoryError(f"BUILD_ARGS: not valid shell words: {err}") from err


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM as Ctrl-C, so that child processes are stopped."""
    raise KeyboardInterrupt
