"""Run the factory: `python -m deploy.factory user@host`."""

from deploy.factory.cli import main

if __name__ == "__main__":
    main(prog_name="factory")
