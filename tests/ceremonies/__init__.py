"""Ceremonies on real processes: what is lost, the chain that stands still, the commands, what is decided after."""
