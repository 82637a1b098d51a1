"""The state: what we own (the ledger), what PagerDuty said (the snapshot), what was being done (the journal)."""
