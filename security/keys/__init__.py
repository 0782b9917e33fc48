"""Key files and what becomes of them."""
