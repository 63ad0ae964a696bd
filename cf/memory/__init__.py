"""Memory strategies: which finished frames a backbone may still read, and where they stand."""
