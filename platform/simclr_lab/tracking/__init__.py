"""The ledger: what has been run, in MLflow, read by key."""
