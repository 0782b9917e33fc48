"""What all loans together owe."""
