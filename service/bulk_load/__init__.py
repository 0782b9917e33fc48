"""CSV import, all or nothing."""
