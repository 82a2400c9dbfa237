"""The one database: connections, tables, migrations, leases. SQLite for one machine, PostgreSQL beyond."""

from orchestrator.database.ahead import read_ahead
from orchestrator.database.checkpoint import Checkpointer
from orchestrator.database.connection import DATA_ERRORS, Database, is_of_database, told
from orchestrator.database.lease import Lease, LeaseLostError
from orchestrator.database.migrate import migrate

__all__ = [
    "DATA_ERRORS",
    "Checkpointer",
    "Database",
    "Lease",
    "LeaseLostError",
    "is_of_database",
    "migrate",
    "read_ahead",
    "told",
]
