"""The entries of the ledger, one module for each group of claims."""
