"""The HTTP interface: application, routes, schemas and middleware."""
