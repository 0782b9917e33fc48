"""Deployment of the service. Depends on its settings and keys, and on nothing about loans."""
