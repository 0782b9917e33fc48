"""Models of parameters, bodies, replies and headers."""
