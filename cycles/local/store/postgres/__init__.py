"""A ledger in a PostgreSQL database, which servers on many machines share. Needs the extra `postgres`."""

from cycles.errors import ConfigError

try:
    import psycopg  # noqa: F401 - whether it is there
    import psycopg_pool  # noqa: F401
except ImportError as missing:
    raise ConfigError("a ledger in PostgreSQL needs an extra: pip install 'cycles-guard[postgres]'") from missing
