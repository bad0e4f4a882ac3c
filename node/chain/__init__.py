"""This node takes part: drives the replica, keeps the pool, catches up."""
