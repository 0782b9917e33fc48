"""A run that needs no other server."""
