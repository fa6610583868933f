"""A ledger in a PostgreSQL database, which servers on many machines share. Needs the extra `postgres`."""
