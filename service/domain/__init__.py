"""Rules that need no I/O: money, dates, histories, statements and parsing of values."""
