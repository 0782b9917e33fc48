"""The provider that enforces access policies."""

from security.providers.acl import ACLProvider, Policy

__all__ = ["ACLProvider", "Policy"]
