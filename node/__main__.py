"""Lets `python -m node` do what the command `p2pnode` does."""

from node.cli.main import main

main()
