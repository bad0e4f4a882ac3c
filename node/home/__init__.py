"""A node's folder and the files in it; knows no rule of the chain beyond genesis and sign state."""
