"""Where readings come from, and how they are signed."""
