"""How hosts and URLs are written."""
