"""The process: wiring, start-up, workers, TLS, shutdown."""
