"""The import paths of the Microkubes Python library, for `security` and `service.gateway`."""
