"""Blocks, the transaction log, the versioned state and its proofs, on LevelDB. Knows nothing of the network."""
