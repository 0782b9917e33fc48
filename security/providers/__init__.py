"""Security providers: JWT, OAuth2 and access policies."""
