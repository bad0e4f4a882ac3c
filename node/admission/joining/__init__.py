"""What a home joins a running chain with: what it asks, what it starts with, and the files that go around."""
