"""The worked rows of the ledger, on the pure ledger and over HTTP: a step, and each figure after it.

The names number the rows. Row 39 needs threads: store/test_sharing.py. G2 and G4 need the administration:
admin/test_http.py.
"""
