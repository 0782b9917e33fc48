#!/usr/bin/env python3
"""Loaner: what a loan owed, on any day. `python service.py` serves; `python service.py --help` tells the rest."""

from service.cli.main import main

if __name__ == "__main__":
    main()
