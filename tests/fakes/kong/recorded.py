"""Recorded exchanges with real gateways."""

import json
from pathlib import Path


def recording(name: str) -> dict[str, list[dict]]:
    """Return the recorded exchanges of a gateway, by scenario."""
    path = Path(__file__).parent / "recordings" / f"{name}.json"
    return {scenario["name"]: scenario["steps"] for scenario in json.loads(path.read_text())["scenarios"]}
