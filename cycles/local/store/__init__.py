"""Where a ledger's rows are kept: SQLite, behind the protocols `Books` and `Store`."""
