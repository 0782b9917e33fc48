"""Reading and verifying tokens."""
