"""The paper's two use cases as desks, for tests without a daemon: a malicious seller and a malicious buyer."""

from typing import Any

from node.household.bilateral import BilateralMarket, MarketParts
from tests.faults.buyers import BuyerAltersEnergy
from tests.faults.sellers import SellerAltersEnergy
from tests.faults.tricks import market_with


def lying_seller(parts: MarketParts) -> BilateralMarket:
    return market_with(SellerAltersEnergy(parts, _forget))


def lying_buyer(parts: MarketParts) -> BilateralMarket:
    return market_with(BuyerAltersEnergy(parts, _forget))


def _forget(event: str, **details: Any) -> None:
    """Nobody reads the diary."""
