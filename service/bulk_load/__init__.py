"""Imports CSV files, all or nothing, and writes sample files."""
