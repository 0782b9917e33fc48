#!/usr/bin/env python3
"""Starts Loaner. `python service.py` serves; `python service.py --help` lists the other commands."""

from service.cli.console import main

if __name__ == "__main__":
    main()
