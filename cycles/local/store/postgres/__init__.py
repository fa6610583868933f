"""A ledger in a PostgreSQL database, which servers on many machines share. Needs the extra `postgres`."""

from cycles._outside.extras import install
from cycles.errors import ConfigError

try:
    import psycopg  # noqa: F401 - whether it is there
    import psycopg_pool  # noqa: F401
except ImportError as missing:
    raise ConfigError(f"a ledger in PostgreSQL needs an extra: {install('postgres')}") from missing
