"""The four conditions of a trade, and the two stages between whose balances they stand.

```
            execution stage                     final stage
  before ---------------------> escrowed ---------------------> settled
     condition 1: seller's energy      condition 3: buyer's energy
     condition 2: buyer's tokens       condition 4: seller's tokens
```

Everything here is pure arithmetic on balances: nothing knows the state. A stage moves what the contract says,
even below zero; the condition is what refuses. So each can be asked about any balances, also wrong ones.

Source: Zaman, Hasan, He, Giesselmann, IJCNS 15 (2022), Conditions 1 to 4.
"""

from msgspec.structs import replace

from consensus.codec import Record
from contracts.receipts import Party, Reason
from contracts.units import MicroTokens, WattHours


class ContractSize(Record, frozen=True, kw_only=True):
    """What a contract moves."""

    energy_wh: WattHours
    amount_micro: MicroTokens
    """The seller's income."""
    fee_micro: MicroTokens
    """The grid account's."""

    @property
    def held_micro(self) -> MicroTokens:
        """What the buyer pays: both."""
        return MicroTokens(self.amount_micro + self.fee_micro)


class Balances(Record, frozen=True, kw_only=True):
    """The balances of a trade's parties and of its escrow at one moment."""

    seller_wh: WattHours
    """Available energy in the contract's packets; of a forward trade, what the seller may still promise."""
    seller_micro: MicroTokens
    """Tokens available in the seller's wallet."""
    buyer_wh: WattHours
    """Energy bought against the buyer's deficit of the packets' interval."""
    buyer_micro: MicroTokens
    buyer_deficit_wh: WattHours
    """The most that `buyer_wh` may reach: what was bought and what is still open."""
    escrow_wh: WattHours
    escrow_micro: MicroTokens
    grid_micro: MicroTokens
    """Tokens available in the grid account's wallet."""


class Failure(Record, frozen=True, kw_only=True):
    """A condition that does not hold."""

    reason: Reason
    detail: str
    fault: Party | None
    """Who lacks what the contract takes; None where the balances simply do not follow the contract, which is
    the mistake of whoever computed them."""


def execution_stage(contract: ContractSize, before: Balances) -> Balances:
    """Returns the balances after the seller's energy and the buyer's tokens went to the escrow."""
    return replace(
        before,
        seller_wh=WattHours(before.seller_wh - contract.energy_wh),
        escrow_wh=WattHours(before.escrow_wh + contract.energy_wh),
        buyer_micro=MicroTokens(before.buyer_micro - contract.held_micro),
        escrow_micro=MicroTokens(before.escrow_micro + contract.held_micro),
    )


def final_stage(contract: ContractSize, before: Balances) -> Balances:
    """Returns the balances after the escrow's energy went to the buyer and its tokens to the seller."""
    return replace(
        before,
        escrow_wh=WattHours(before.escrow_wh - contract.energy_wh),
        buyer_wh=WattHours(before.buyer_wh + contract.energy_wh),
        escrow_micro=MicroTokens(before.escrow_micro - contract.held_micro),
        seller_micro=MicroTokens(before.seller_micro + contract.amount_micro),
        grid_micro=MicroTokens(before.grid_micro + contract.fee_micro),
    )


def condition_1(contract: ContractSize, before: Balances, after: Balances) -> Failure | None:
    """Seller and escrow: the contract's energy, neither more nor less, left the seller for the escrow."""
    reason, energy = Reason.CONDITION_1_SELLER_ENERGY, contract.energy_wh
    if before.seller_wh < energy:
        detail = f"seller has {before.seller_wh} Wh available, contract {energy} Wh"
        return Failure(reason=reason, detail=detail, fault=Party.SELLER)
    seller, escrow = after.seller_wh - before.seller_wh, after.escrow_wh - before.escrow_wh
    return _unless_moved(reason, quantity=energy, unit="Wh", source=("seller", seller), sink=("escrow", escrow))


def condition_2(contract: ContractSize, before: Balances, after: Balances) -> Failure | None:
    """Buyer and escrow: the contract's amount and the grid fee left the buyer's wallet for the escrow."""
    reason, amount = Reason.CONDITION_2_BUYER_TOKENS, contract.held_micro
    if before.buyer_micro < amount:
        detail = f"buyer has {before.buyer_micro} micro-tokens available, contract {amount}"
        return Failure(reason=reason, detail=detail, fault=Party.BUYER)
    buyer, escrow = after.buyer_micro - before.buyer_micro, after.escrow_micro - before.escrow_micro
    return _unless_moved(
        reason, quantity=amount, unit="micro-tokens", source=("buyer", buyer), sink=("escrow", escrow)
    )


def condition_3(contract: ContractSize, before: Balances, after: Balances) -> Failure | None:
    """Buyer and escrow: the contract's energy left the escrow for the buyer, within the buyer's deficit."""
    reason, energy = Reason.CONDITION_3_BUYER_ENERGY, contract.energy_wh
    still_open = before.buyer_deficit_wh - before.buyer_wh
    if still_open < energy:
        detail = f"buyer's open deficit is {still_open} Wh, contract {energy} Wh"
        return Failure(reason=reason, detail=detail, fault=Party.BUYER)
    escrow, buyer = after.escrow_wh - before.escrow_wh, after.buyer_wh - before.buyer_wh
    return _unless_moved(
        reason,
        quantity=energy,
        unit="Wh",
        source=("escrow", escrow),
        sink=("buyer", buyer),
        held=before.escrow_wh,
    )


def condition_4(contract: ContractSize, before: Balances, after: Balances) -> Failure | None:
    """Seller and escrow: the contract's amount left the escrow for the seller, the fee for the grid account."""
    reason, fee = Reason.CONDITION_4_SELLER_TOKENS, contract.fee_micro
    escrow, seller = after.escrow_micro - before.escrow_micro, after.seller_micro - before.seller_micro
    grid = after.grid_micro - before.grid_micro
    if grid != fee:
        return Failure(reason=reason, detail=f"grid changed by {grid}, fee {fee} micro-tokens", fault=None)
    if before.escrow_micro < contract.held_micro:
        detail = f"escrow holds {before.escrow_micro} micro-tokens, contract and fee {contract.held_micro}"
        return Failure(reason=reason, detail=detail, fault=None)
    return _unless_moved(
        reason,
        quantity=contract.amount_micro,
        unit="micro-tokens",
        source=("escrow", escrow + fee),
        sink=("seller", seller),
    )


def _unless_moved(
    reason: Reason,
    *,
    quantity: int,
    unit: str,
    source: tuple[str, int],
    sink: tuple[str, int],
    held: int | None = None,
) -> Failure | None:
    """Returns a failure unless source fell and sink rose by `quantity`, and an escrow as source held that much."""
    if held is not None and held < quantity:
        detail = f"escrow holds {held} {unit}, contract {quantity}"
        return Failure(reason=reason, detail=detail, fault=None)
    if source[1] == -quantity and sink[1] == quantity:
        return None
    detail = f"{source[0]} changed by {source[1]}, {sink[0]} by {sink[1]}, contract {quantity} {unit}"
    return Failure(reason=reason, detail=detail, fault=None)
