"""Cryptographic keys: loading, storage, rotation and publication."""
