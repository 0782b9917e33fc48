"""How the service gets to where it runs; knows the service's settings and keys, and nothing of loans."""
