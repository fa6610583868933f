"""Tenants, keys and budgets for operators, in Python and over HTTP; may use wire, store's protocols and ledger."""
