"""The daemon: everything that touches a socket, a disk, a clock or a terminal. Holds no rule of the protocol."""
