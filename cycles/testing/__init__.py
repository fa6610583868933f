"""What tests of guarded programs can use; nothing in the package imports it.

Here live the simulator (`python -m cycles.testing.simulate`): a virtual clock, a ledger in memory, fault plans and the
invariants that must hold after every effect. See docs/simulator.md.
"""
