"""The console command `loaner` of the installed package."""

import sys

_OWN_PACKAGES = ("native", "security", "service")


def main() -> None:
    """Run the command line, or say what to install if only the packages for other services are installed."""
    try:
        from service.cli.main import main as run
    except ModuleNotFoundError as err:
        if err.name is None or err.name.partition(".")[0] in _OWN_PACKAGES:
            raise
        sys.exit(f"Error: the service is not installed ({err.name} is missing); run: pip install 'loaner[service]'")
    run(prog_name="loaner")
