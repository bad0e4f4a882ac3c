"""What happened, read from the ledger, for people."""
