"""Files that convince without a node."""
