"""Build the service's image, copy it to a host over ssh, and start it there, with rollback."""
