"""The one database: connections, tables, migrations, leases. SQLite for one machine, PostgreSQL beyond."""

from orchestrator.database.connection import Database
from orchestrator.database.lease import Lease, LeaseLostError
from orchestrator.database.migrate import migrate

__all__ = ["Database", "Lease", "LeaseLostError", "migrate"]
