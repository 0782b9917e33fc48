"""Credentials for Postgres that Vault makes, renews and takes back."""
