"""Where a ledger's rows are kept, behind the protocols `Store` and `StoredBooks`; all SQL is here; may use ledger."""
