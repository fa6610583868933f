"""The algebra of budgets and reservations; may use nothing else of the authority, nor a clock, chance, files or SQL."""
