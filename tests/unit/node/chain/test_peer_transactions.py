"""What peers pass on waits in a queue that no single peer can fill for the others."""

from consensus.identifiers import Address
from contracts.transactions import TRANSACTION_SIZE_BYTES_MAX
from node.chain.peer_transactions import TRANSACTION_OVERHEAD_BYTES, WAITING_SIZE_BYTES_MAX, PeerTransactions
from node.mesh.messages import TRANSACTIONS_PER_MESSAGE_MAX

FLOODER, HONEST = Address(bytes([1]) * 32), Address(bytes([2]) * 32)
LARGEST = (bytes(TRANSACTION_SIZE_BYTES_MAX),) * TRANSACTIONS_PER_MESSAGE_MAX


async def test_batches_come_back_in_their_order() -> None:
    queue = PeerTransactions()
    assert queue.put(FLOODER, (b"1",))
    assert queue.put(HONEST, (b"2", b"3"))
    assert [await queue.get(), await queue.get()] == [(FLOODER, (b"1",)), (HONEST, (b"2", b"3"))]


async def test_the_largest_batch_is_taken_and_nothing_more_of_its_sender() -> None:
    queue = PeerTransactions()
    assert queue.put(FLOODER, LARGEST)
    assert not queue.put(FLOODER, (b"1",))
    assert queue.put(HONEST, LARGEST), "another peer has room of its own"
    await queue.get()
    assert queue.put(FLOODER, (b"1",)), "what was taken makes room"


async def test_short_transactions_count_too() -> None:
    queue = PeerTransactions()
    taken = 0
    while queue.put(FLOODER, (b"1",)):
        taken += 1
    assert taken == WAITING_SIZE_BYTES_MAX // (TRANSACTION_OVERHEAD_BYTES + 1)
