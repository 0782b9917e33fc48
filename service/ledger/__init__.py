"""Reading and posting loans."""
