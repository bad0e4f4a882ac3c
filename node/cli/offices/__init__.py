"""`p2pnode office`: whoever keeps the key of an office, and members who decide on a lost one."""
