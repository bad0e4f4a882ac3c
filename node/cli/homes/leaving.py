"""What `p2pnode member leave|stay` say to the home's own node, and how they follow what becomes of it.

What was submitted stays under way whatever becomes of the command: all members have it, as long as it is valid. So a
command that is given again signs nothing that is under way already, the opposite goes above it by its nonce, and who
is cut off says so. A node that starts anew has lost its mempool, and is told again.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from pydantic import BaseModel

from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Height
from contracts.genesis import chain_id
from contracts.transactions import Action, SetLeaving, sign_transaction
from node.admission.next_keys import home_keys
from node.cli.sending import NONCE_STEP, VALID_HEIGHTS
from node.cli.terminal import error_console
from node.client import NodeClient, api_url
from node.errors import NodeAway, NodeError
from node.home.configuration import Configuration
from node.home.genesis_file import load_genesis
from node.replies.node import StatusReply, SubmissionReply, TransactionReply
from node.replies.state import (
    AccountReply,
    ChangeUnderWay,
    MemberChangesReply,
    MembersReply,
    StateReply,
    WaitingChange,
)
from node.replies.why import WhyReply

M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")

LOOK_PAUSE_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a home stands with leaving, as its own node has it."""

    last_height: int | None
    """Of its membership; None while it is a member."""
    waiting: WaitingChange | None
    """Its leave, on the chain."""
    under_way: ChangeUnderWay | None
    """What it says in a transaction that no block contains yet."""

    @property
    def is_leaving(self) -> bool:
        """Says whether its last word, decided or under way, is that it leaves."""
        return self.waiting is not None if self.under_way is None else self.under_way.leaving


class OwnNode:
    """This home's node, asked over its API, and its key."""

    def __init__(self, configuration: Configuration, client: NodeClient) -> None:
        self.name: Final = configuration.node.name
        self._home = configuration.home
        self._keys = home_keys(configuration.home)
        self._key: SigningKey
        self._client = client
        self._url = api_url(configuration)
        self.address = ""
        self._told = ""
        self._raw: bytes | None = None
        """What this command follows; None if it was decided before."""
        self.seen: Standing | None = None
        """As of the last look."""
        self.has_said = False
        """This command submitted something, or was about to."""

    async def look_up(self) -> None:
        """Finds out which member this home is.

        Raises:
            NodeError: the node does not answer, or is another home's.
        """
        status = await self._client.status(self._url)
        if status is None:
            raise NodeError(f"{self._url} does not answer: is the node running? It must, until this is over")
        registered = await self._client.get(self._url, f"/v1/state/member:{status.address}", StateReply)
        fields = {} if registered.record is None else registered.record.fields
        acting = [key for key in self._keys if key.public_key.hex() == fields.get("node_key")]
        if not acting:
            raise NodeError(f"{self._url} is the API of another home, {status.name}: nothing was changed")
        self.address = status.address
        self._key = acting[0].of_member(Address(bytes.fromhex(status.address)))

    async def members(self) -> MembersReply:
        """Returns all members, and how many must answer."""
        return await self.get("/v1/members", MembersReply)

    async def why(self) -> WhyReply:
        """Returns how far the node hears that the others are."""
        return await self.get("/v1/why", WhyReply)

    async def standing(self) -> Standing:
        """Returns where this home stands now."""
        changes = await self.get("/v1/members/changes", MemberChangesReply)
        self.seen = Standing(
            last_height=next((left.last_height for left in changes.left if left.address == self.address), None),
            waiting=next((one for one in changes.waiting if one.address == self.address), None),
            under_way=next((one for one in changes.under_way if one.address == self.address), None),
        )
        return self.seen

    def tell(self, text: str) -> None:
        """Shows what is waited for, once."""
        if text != self._told:
            self._told = text
            error_console().print(text, soft_wrap=True)

    # --- what this home says

    async def say(self, *, leaving: bool) -> None:
        """Makes it this home's last word that it leaves, or stays, unless it is already."""
        standing = await self.standing()
        if standing.is_leaving is not leaving:
            await self._sign(standing, leaving=leaving)
        elif standing.under_way is not None:
            path = f"/v1/transactions/{standing.under_way.transaction}"
            self._raw = bytes.fromhex((await self.get(path, TransactionReply)).transaction_encoded)

    async def _sign(self, standing: Standing, *, leaving: bool) -> None:
        before = -1 if standing.under_way is None else standing.under_way.nonce
        self._raw = await self.signed(SetLeaving(leaving=leaving), above=before)
        self.has_said = True
        await self.submit(self._raw)

    async def signed(self, action: Action, *, above: int = -1) -> bytes:
        """Returns a transaction of this home, above a nonce that it used already."""
        account = await self.get(f"/v1/accounts/{self.address}", AccountReply)
        status = await self.get("/v1/status", StatusReply)
        return sign_transaction(
            self._key,
            chain=chain_id(load_genesis(self._home)),
            nonce=max(account.nonce + NONCE_STEP, above + 1),
            valid_until_height=Height(status.height + VALID_HEIGHTS),
            action=action,
        )

    async def until_decided(self, *, leaving: bool) -> Standing:
        """Waits until this home has left, or its leave is taken back, and says meanwhile what for.

        Raises:
            NodeError: what it said was declined, can no longer be decided, or was followed by the opposite.
        """
        while True:
            standing = await self.standing()
            if standing.last_height is not None or not (leaving or standing.waiting or standing.under_way):
                return standing
            if standing.under_way is not None:
                self.tell(f"{standing.under_way.sentence} p2pnode why tells why, if that lasts")
            elif leaving and standing.waiting is not None:
                self.tell(standing.waiting.sentence)
            else:
                await self._say_again(leaving=leaving)
            await asyncio.sleep(LOOK_PAUSE_S)

    async def _say_again(self, *, leaving: bool) -> None:
        """Brings what is neither decided nor waits to the node once more, or finds out that it was decided."""
        reply = None if self._raw is None else await self.submit(self._raw)
        if reply is not None and reply.status == "pending":
            return
        if reply is not None and reply.receipt is not None and reply.status == "declined":
            raise NodeError(f"{'the leave' if leaving else 'to stay'} was declined: {reply.receipt.detail}")
        standing = await self.standing()  # it may have been decided since the last look
        if standing.is_leaving is not leaving and standing.last_height is None:
            stays = "the leave was taken back: this home stays a member"
            raise NodeError(stays if leaving else "the leave was said again: this home leaves")

    # --- the node

    async def submit(self, raw: bytes) -> SubmissionReply:
        """Brings a transaction to the node; does not wait for a block."""
        return await self._patiently(lambda: self._client.submit(self._url, raw, wait_s=0))

    async def get(self, path: str, model: type[M]) -> M:
        """Returns what the node's API answers."""
        return await self._patiently(lambda: self._client.get(self._url, path, model))

    async def _patiently(self, request: Callable[[], Awaitable[T]]) -> T:
        """Waits for a node that is started anew meanwhile."""
        while True:
            try:
                return await request()
            except NodeAway:
                self.tell(f"{self._url} does not answer: waiting until the node runs again")
                await asyncio.sleep(LOOK_PAUSE_S)
