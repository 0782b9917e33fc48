"""The command line of the factory."""

import shlex
import signal
import sys
from pathlib import Path
from types import FrameType

import click
from rich.console import Console

from deploy.factory.console import Report
from deploy.factory.deployment import STEPS, Deployment
from deploy.factory.errors import FactoryError
from deploy.factory.host import Host
from deploy.factory.options import Order
from deploy.factory.payload import pack, read_settings
from deploy.factory.target import Target
from security import KeyException
from service.errors import LoanerError

INTERRUPTED = 130
FILE = click.Path(path_type=Path)


@click.command()
@click.argument("target", envvar="TARGET", metavar="USER@HOST[:PORT]", required=False)
@click.option("--env-file", envvar="ENV_FILE", type=FILE, help="Settings beside those of the environment, which win.")
@click.option("--image", envvar="IMAGE", help="An image that exists, instead of building one.")
@click.option("--build-args", envvar="BUILD_ARGS", default="", help="Further arguments of docker build.")
@click.option("--memory", envvar="MEMORY", help="The most memory that it may have, such as 512m.")
@click.option("--container", envvar="CONTAINER", default="loaner", show_default=True, help="Its name on the host.")
@click.option(
    "--patience", envvar="PATIENCE_S", default=150, show_default=True, type=click.IntRange(1, 3600),
    help="Seconds that it has to get ready.",
)  # fmt: skip
@click.option("--ssh-config", envvar="SSH_CONFIG", type=FILE, help="A file in place of ~/.ssh/config.")
@click.option("--dry-run", envvar="DRY_RUN", is_flag=True, help="Print each command, and do nothing.")
def main(
    target: str | None, env_file: Path | None, image: str | None, build_args: str, memory: str | None, container: str,
    patience: int, ssh_config: Path | None, dry_run: bool,
) -> None:  # fmt: skip
    """Build the service's image, ship it to a host over ssh, and start it there with the settings of this environment.

    If it does not get ready, the container that ran before is started again. PORT is the port to publish; each option
    can be given as a variable too (ENV_FILE, IMAGE, BUILD_ARGS, MEMORY, CONTAINER, PATIENCE_S, SSH_CONFIG, DRY_RUN=1).
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        if not target:
            raise FactoryError("TARGET is not set; say where to: make factory TARGET=user@host")
        host = Host(Target.parse(target), ssh_config)
        order = Order(container, image or None, _words(build_args), memory or None, patience)
        settings = read_settings(env_file)
        luggage = pack(settings, env_file)
        report = Report(Console(), list(luggage.secrets.values()), STEPS)
        deployment = Deployment(order, host, settings, luggage, report)
        if dry_run:
            deployment.tell()
        else:
            deployment.run()
    except (FactoryError, LoanerError, KeyException, OSError) as err:
        raise click.ClickException(str(err)) from err
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was replaced on the host", err=True)
        sys.exit(INTERRUPTED)


def _words(build_args: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(build_args))
    except ValueError as err:
        raise FactoryError(f"BUILD_ARGS: expected words as a shell takes them: {err}") from err


def _end(number: int, frame: FrameType | None) -> None:
    """Let what was started be stopped in order."""
    raise KeyboardInterrupt
