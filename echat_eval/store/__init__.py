"""Run folders, keys, the ledger and the cache."""
