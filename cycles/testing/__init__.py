"""Tools for tests: pytest fixtures, the simulator and the recovery adapter; no other room imports this one.

`plugin` holds the fixtures (docs/testing.md), `recovery_adapter` runs the recovery scenarios. All else is the simulator
(`python -m cycles.testing.simulate`, docs/simulator.md): a virtual clock, a ledger in memory, fault plans, and the
invariants that must hold after every effect.
"""
