"""Whether the authority vouches for keys in a block: under the key that acts for it there, at the block's time."""

from consensus.cryptography import address_of
from consensus.identifiers import PublicKey
from contracts.offices import acting_key
from contracts.receipts import Reason
from contracts.run import BlockRun, Refusal
from contracts.units import Milliseconds
from contracts.vouchers import Vouchers, are_valid_at, vouchers_hold


def voucher_refusal(
    run: BlockRun,
    vouchers: Vouchers,
    *,
    node_key: PublicKey,
    meter_key: PublicKey,
    not_vouched: Reason,
    expired: Reason,
) -> Refusal | None:
    """Says why vouchers do not show that two keys are those of one home, with the reasons of who asks."""
    home = vouchers.home
    if (home.node_key, home.meter_key) != (node_key, meter_key):
        detail = f"the voucher is not of node key {node_key.hex()} with meter key {meter_key.hex()}"
        return Refusal(reason=not_vouched, detail=detail)
    root_key = acting_key(run.overlay, address_of(run.genesis.authority_key))
    assert root_key is not None, "the authority is an office"
    if not vouchers_hold(vouchers, root_key):
        detail = f"the authority's key, {root_key.hex()}, does not stand behind the voucher"
        return Refusal(reason=not_vouched, detail=detail)
    now_ms = Milliseconds(run.genesis.start_ms + run.context.slot * run.genesis.slot_duration_ms)
    if not are_valid_at(vouchers, now_ms):
        detail = f"valid from {home.valid_from_ms} to {home.valid_until_ms} ms, the block is of {now_ms} ms"
        return Refusal(reason=expired, detail=detail)
    return None
