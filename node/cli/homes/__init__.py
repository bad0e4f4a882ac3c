"""How homes begin: their keys, the founding of a chain, a new home in a lost one's place."""
