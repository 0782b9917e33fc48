"""Alembic's environment: runs migrations on the connection of `service.postgres.migrate`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
