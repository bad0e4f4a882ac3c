"""Members that serve wrong blocks, or none, to whoever is far behind."""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from consensus.codec import decode, encode
from consensus.identifiers import Address, Signature
from consensus.messages import Decided
from ledger.block import Block
from node.chain.block_server import BlockServer
from node.mesh.messages import BLOCKS_PER_ANSWER_MAX, Blocks, BlocksRequest

Lie = Callable[[Blocks], Blocks]


def _each(change: Callable[[Decided], Decided]) -> Lie:
    return lambda answer: replace(answer, blocks=tuple(map(change, answer.blocks)))


def altered_body(decided: Decided) -> Decided:
    """The header and the certificate are right, a transaction is missing."""
    block = decode(decided.proposal, Block)
    return replace(decided, proposal=encode(replace(block, transactions=block.transactions[:-1])))


def altered_header(decided: Decided) -> Decided:
    """A block of the liar's own, under the certificate of the decided one."""
    block = decode(decided.proposal, Block)
    return replace(decided, proposal=encode(replace(block, header=replace(block.header, state_root=bytes(32)))))


def bad_certificate(decided: Decided) -> Decided:
    """The right block, one COMMIT of its certificate not signed."""
    certificate = decided.certificate
    forged = replace(certificate.endorsements[0], signature=Signature(bytes(64)))
    return replace(decided, certificate=replace(certificate, endorsements=(forged, *certificate.endorsements[1:])))


def wrong_range(answer: Blocks) -> Blocks:
    """The right blocks, from the second one on."""
    return replace(answer, blocks=answer.blocks[1:])


def too_many(answer: Blocks) -> Blocks:
    """The right blocks and one more, where a message has room for it."""
    return replace(answer, blocks=(answer.blocks + answer.blocks[-1:])[:BLOCKS_PER_ANSWER_MAX])


class LyingBlockServer(BlockServer):
    """Tells one kind of lie in each answer."""

    lie: Lie

    def _answer(self, request: BlocksRequest) -> tuple[Blocks, int]:
        answer, cost_bytes = super()._answer(request)
        return type(self).lie(answer), cost_bytes


class WithheldBlocks(BlockServer):
    """Answers nothing."""

    def request(self, sender: Address, message: BlocksRequest) -> None:
        """Forgets the request."""


def _liar(told: Lie) -> type[BlockServer]:
    return type("Liar", (LyingBlockServer,), {"lie": staticmethod(told)})


BLOCK_SERVERS: Final[Mapping[str, type[BlockServer]]] = {
    "altered-body": _liar(_each(altered_body)),
    "altered-header": _liar(_each(altered_header)),
    "bad-certificate": _liar(_each(bad_certificate)),
    "wrong-range": _liar(wrong_range),
    "too-many": _liar(too_many),
    "withheld": WithheldBlocks,
}
