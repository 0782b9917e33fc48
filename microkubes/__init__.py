"""The names under which Microkubes services import what `security` and `service.gateway` are."""
