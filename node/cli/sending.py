"""How commands that sign bring a transaction to the chain: over the API of any node, and wait for its receipt."""

import asyncio
from typing import Final

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest, Height
from contracts.genesis import chain_id
from contracts.transactions import Action, sign_transaction, transaction_digest
from node.admission.next_keys import home_keys
from node.cli.asking import ask_url
from node.cli.terminal import error_console
from node.client import api_url, open_client, require_url
from node.errors import Declined, NodeAway, NodeError
from node.home.configuration import Configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.replies.node import StatusReply, SubmissionReply
from node.replies.state import AccountReply, StateReply

VALID_HEIGHTS: Final = 1_000
"""For how many blocks the transaction may wait: after that it cannot be executed any more."""

WAIT_S: Final = 30
"""For the block: some slots where the chain decides."""

DEADLINE_S: Final = 60.0

NONCE_STEP: Final = 1_000
"""Above the sender's last nonce: a node that runs signs with the ones in between, and its transactions go first."""


def send_as_member(configuration: Configuration, action: Action) -> SubmissionReply:
    """Signs an action by the key that acts for this home's member, and brings it to its own node, which must run.

    Raises:
        NodeError: as `send_action`.
        Declined: as `send_action`.
        IdentityError: the home has no key and certificate that belong together.
    """
    home, url = configuration.home, api_url(configuration)
    return send_action(url, _member_key(home, url), chain_id(load_genesis(home)), action)


def _member_key(home: Home, url: str) -> SigningKey:
    """Returns the key of a home that acts for the member that its node says it is: its address may be that of an
    earlier key.

    Raises:
        NodeError: the node does not answer.
        IdentityError: the home has no key and certificate that belong together.
    """
    address = ask_url(url, "/v1/status", StatusReply).address
    registered = ask_url(url, f"/v1/state/member:{address}", StateReply)
    acting = None if registered.record is None else registered.record.fields.get("node_key")
    present, *following = home_keys(home)
    key = next((one for one in following if one.public_key.hex() == acting), present)
    return key.of_member(Address(bytes.fromhex(address)))


def send_action(url: str, key: SigningKey, chain: Digest, action: Action) -> SubmissionReply:
    """Signs an action, brings it to the chain and returns its receipt, with the block that executed it.

    Args:
        url: the API of any node of the chain.
        key: the sender's present key, and its address.
        chain: that the action is for.
        action: what to do.

    Raises:
        NodeError: the node is of another chain, refuses the transaction or does not answer; or no block took it yet.
        Declined: the chain declined it.
    """
    reply = asyncio.run(_send(url, key, chain, action))
    receipt = reply.receipt
    if receipt is None:
        raise NodeError(f"no block took it within {WAIT_S} s. {_under_way(require_url(url), reply.digest)}")
    if reply.status == "declined":
        raise Declined(receipt.reason, receipt.detail)
    return reply


async def _send(url: str, key: SigningKey, chain: Digest, action: Action) -> SubmissionReply:
    root = require_url(url)
    async with open_client(timeout_s=DEADLINE_S) as client:
        status = await client.get(root, "/v1/status", StatusReply)
        if status.chain != chain.hex():
            raise NodeError(f"{url} is a node of chain {status.chain}, and this is for {chain.hex()}")
        account = await client.get(root, f"/v1/accounts/{key.address.hex()}", AccountReply)
        raw = sign_transaction(
            key,
            chain=chain,
            nonce=account.nonce + NONCE_STEP,
            valid_until_height=Height(status.height + VALID_HEIGHTS),
            action=action,
        )
        try:
            return await client.submit(root, raw, wait_s=WAIT_S)
        except asyncio.CancelledError:
            error_console().print(_under_way(root, transaction_digest(raw).hex()), soft_wrap=True)
            raise
        except NodeAway as error:
            raise NodeError(f"{error} {_under_way(root, transaction_digest(raw).hex())}") from None


def _under_way(url: str, digest: str) -> str:
    return (
        f"Transaction {digest} may be under way, and goes on without this command: "
        f"{url}/v1/transactions/{digest} says what became of it"
    )
