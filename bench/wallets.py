"""Wallets of a testnet's members, which sign transfers with the members' own keys."""

from collections.abc import Sequence
from typing import Final

from bench.network import Network
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Height
from contracts.transactions import Transfer, sign_transaction
from contracts.units import MicroTokens
from node.admission.identity import load_key
from node.client import open_client
from node.replies.state import AccountReply
from node.testnet.folder import Testnet

FOREVER: Final = Height(2**31)


class Wallet:
    """Signs transfers of one micro-token to the next member, with rising nonces."""

    def __init__(self, *, key: SigningKey, recipient: Address, chain: Digest, last_nonce: int) -> None:
        self._key = key
        self._recipient = recipient
        self._chain = chain
        self._nonce = last_nonce

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


def wallets_of(testnet: Testnet, last_nonces: Sequence[int] = ()) -> list[Wallet]:
    """Returns one wallet per member, in the order of the nodes; each pays the next.

    Args:
        testnet: whose members' keys sign.
        last_nonces: of each member's last transaction on the chain; a new chain has none.
    """
    keys = [load_key(testnet.home(node).node_key) for node in testnet.nodes]
    chain = Digest(bytes.fromhex(testnet.manifest.chain))
    return [
        Wallet(key=key, recipient=keys[(index + 1) % len(keys)].address, chain=chain, last_nonce=last_nonce)
        for index, (key, last_nonce) in enumerate(zip(keys, last_nonces or [-1] * len(keys), strict=True))
    ]


async def wallets_on(network: Network) -> list[Wallet]:
    """Returns the wallets of a running testnet that is idle: they go on where its meters and earlier wallets ended.

    Raises:
        NodeError: a node does not answer.
    """
    async with open_client() as client:
        accounts = [
            await client.get(node.api_url, f"/v1/accounts/{node.address}", AccountReply)
            for node in network.testnet.nodes
        ]
    return wallets_of(network.testnet, [account.nonce for account in accounts])
