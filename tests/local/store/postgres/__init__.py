"""The store on PostgreSQL: what it does that SQLite does not."""
