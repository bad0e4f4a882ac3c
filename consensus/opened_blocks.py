"""What a ceremony reads in blocks, which are bytes to the rest of the consensus: the ledger opens them."""

from collections.abc import Callable

from consensus.identifiers import Digest, EraNumber, PublicKey

ParentOf = Callable[[Digest, bytes], Digest | None]
"""Returns the parent that a proposal names, if the proposal is the block that a digest names; else None."""

AuthorityIn = Callable[[bytes], PublicKey]
"""Returns the key that acts for the authority after a block, as the block says; takes a proposal that is one."""

MembersIn = Callable[[bytes, EraNumber], Digest | None]
"""Returns the digest of the members two heights above a block, as the block says; takes a proposal that is one. None
if another era than the one given made it: who the members are when an era begins, its plan says.
"""
