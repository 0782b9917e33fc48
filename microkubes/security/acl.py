"""The ACL provider."""

from security.acl_provider import ACLProvider, Policy

__all__ = ["ACLProvider", "Policy"]
