"""Models of parameters, bodies, replies and headers, with their documentation."""
