"""The algebra of budgets and reservations: pure, with no clock, randomness, files or sockets."""
