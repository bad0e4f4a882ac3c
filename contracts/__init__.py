"""The rules of the market: pure functions from (state, transaction) to changes.

Nothing here reads a clock, a socket, a file, randomness or a float: every node must compute the same bytes
from the same input, today and in ten years.
"""
