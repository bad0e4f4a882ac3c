"""The state for those who join: made at intervals, told chunk by chunk, taken in chunk by chunk."""
