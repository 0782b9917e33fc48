"""The page `/app`: loans for people who look rather than call an API. Rendered here, without JavaScript."""
