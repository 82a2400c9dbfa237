"""Alembic's entry: runs on the connection that `orchestrator.database.migrate` holds the lock with."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True, transactional_ddl=False)
context.run_migrations()
