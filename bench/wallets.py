"""Wallets of a testnet's members, which sign transfers with the members' own keys."""

import time
from typing import Final

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Height
from contracts.transactions import Transfer, sign_transaction
from contracts.units import MicroTokens
from node.admission.identity import load_key
from node.testnet.folder import Testnet

FOREVER: Final = Height(2**31)


class Wallet:
    """Signs transfers of one micro-token to the next member, with rising nonces."""

    def __init__(self, *, key: SigningKey, recipient: Address, chain: Digest) -> None:
        self._key = key
        self._recipient = recipient
        self._chain = chain
        self._nonce = time.time_ns() // 1_000_000  # above what meters and earlier wallets used; gaps are allowed

    def transfer(self) -> bytes:
        """Returns the next transfer, signed."""
        self._nonce += 1
        return sign_transaction(
            self._key,
            chain=self._chain,
            nonce=self._nonce,
            valid_until_height=FOREVER,
            action=Transfer(recipient=self._recipient, amount_micro=MicroTokens(1)),
        )


def wallets_of(testnet: Testnet) -> list[Wallet]:
    """Returns one wallet per member, in the order of the nodes; each pays the next."""
    keys = [load_key(testnet.home(node).node_key) for node in testnet.nodes]
    chain = Digest(bytes.fromhex(testnet.manifest.chain))
    return [
        Wallet(key=key, recipient=keys[(index + 1) % len(keys)].address, chain=chain)
        for index, key in enumerate(keys)
    ]
