"""From the ledger's records to the paper's tables and figures, with honest statistics."""
