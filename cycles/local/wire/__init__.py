"""The runtime plane, over HTTP and without a socket; may use the store's protocols and ledger, and knows no SQL."""
