"""The ACL provider."""

from security.providers.acl import ACLProvider, Policy

__all__ = ["ACLProvider", "Policy"]
