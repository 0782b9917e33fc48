"""The parts of the front door: what happens to a request before Flask sees it."""
