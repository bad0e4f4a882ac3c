"""PBFT by timeslot: a replica without I/O that orders opaque proposals named by digest.

It never reads a clock, a socket, a disk or randomness: time and messages are handed in, effects are handed
out. Its lowest modules, `identifiers`, `codec` and `cryptography`, are the foundation of the other packages.
"""
