"""A member that floods the others: `python -m bench.flooder TESTNET MEMBER MESSAGES`, a process of its own.

It dials every other member with its real certificate, as its own daemon would (which must not run), and sends as fast
as they read. A third each of its messages is far-future (heights and slots beyond any use), duplicate (its own valid
statements of the present height, and things long decided, again and again) and malformed (bad signatures,
certificates of nobody, bodies that are no blocks, answers to nothing). In between comes a frame that is no
message at all: the receiver closes the link, and the flooder dials again as often as it is let in.

Prints how many messages it sent, by class, as JSON.
"""

import asyncio
import itertools
import json
import random
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from consensus.cryptography import SigningKey
from consensus.eras import FIRST_ERA, first_era
from consensus.identifiers import Digest, Height, Signature, Slot
from consensus.messages import (
    NONCE_SIZE_BYTES,
    NUMBER_MAX,
    Body,
    BodyRequest,
    Claim,
    Commit,
    CommitCertificate,
    Decided,
    HeightAnswer,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)
from consensus.recovery import question_of
from contracts.transactions import TRANSACTION_SIZE_BYTES_MAX
from contracts.units import Milliseconds, WattHours
from node.admission.identity import load_identity
from node.client import open_client
from node.mesh.limits import MESH_PATH
from node.mesh.messages import (
    BLOCKS_PER_ANSWER_MAX,
    Blocks,
    BlocksRequest,
    OfferDecline,
    OfferRequest,
    PeerMessage,
    Transactions,
    encode_peer_message,
)
from node.testnet.folder import Testnet, TestnetNode

REFRESH_S: Final = 1.0
"""How often the present height is asked for, so that duplicates are of it."""

FAR_FRAMES: Final = 3_000
"""Different far-future messages, made once."""

DECIDED_AHEAD_MAX: Final = 8
"""Heights above the undecided one for which bodies are sent: those that a receiver may hold."""

JUNK_SIZE_BYTES: Final = 200_000
"""Of bodies that are no blocks; one message in a few hundred has one."""

GARBAGE_INTERVAL_S: Final = 1.2
"""Between two frames that are no message: a receiver lets a member dial ten times in ten seconds."""

DIAL_PAUSE_S: Final = 0.3
LINK_DEADLINE_S: Final = 30.0
NO_SIGNATURE: Final = Signature(bytes(64))


@dataclass(slots=True)
class Sent:
    """What left, by class."""

    far_future: int = 0
    duplicate: int = 0
    malformed: int = 0
    links: int = 0
    """Links opened."""
    refused_links: int = 0
    elapsed_s: float = 0.0

    @property
    def messages(self) -> int:
        return self.far_future + self.duplicate + self.malformed


class Arsenal:
    """Makes the frames."""

    def __init__(self, key: SigningKey, chain: Digest, seed: int) -> None:
        self._key = key
        self._chain = chain
        self._era = first_era(chain)
        self._random = random.Random(seed)
        self._junk = self._random.randbytes(JUNK_SIZE_BYTES)

    def _digest(self) -> Digest:
        return Digest(self._random.randbytes(32))

    # --- statements of the flooder ---------------------------------------------------------------------------

    def statements(self, at: int, slot: int, block: Digest, signature: Signature | None = None) -> list[PeerMessage]:
        """Returns a PREPARE, a COMMIT and a VIEW-CHANGE of a height, signed unless a signature is given."""
        height, number, own = Height(at), Slot(slot), self._key.address

        def signed(statement: bytes) -> Signature:
            return self._key.sign(statement) if signature is None else signature

        vote = signed(vote_bytes(self._era.domain, height, number, block))
        commit = signed(commit_bytes(self._era.domain, height, number, block))
        view_change = signed(view_change_bytes(self._era.domain, height, number, None))
        return [
            Prepare(height=height, slot=number, block=block, signer=own, signature=vote),
            Commit(height=height, slot=number, block=block, signer=own, signature=commit),
            ViewChange(height=height, slot=number, claim=None, signer=own, signature=view_change, certificate=None),
        ]

    def _proposal(self, height: int, slot: int, body: bytes) -> PrePrepare:
        return PrePrepare(
            height=Height(height),
            slot=Slot(slot),
            block=self._digest(),
            signer=self._key.address,
            signature=NO_SIGNATURE,
            justification=None,
            proposal=body,
        )

    def _decided(self, height: int, body: bytes) -> Decided:
        certificate = CommitCertificate(
            era=FIRST_ERA, height=Height(height), slot=Slot(1), block=self._digest(), endorsements=()
        )
        return Decided(certificate=certificate, proposal=body)

    def _status(self, undecided: int, slot: int, tip: Digest) -> Status:
        """Hears nobody: everybody is to pass it on."""
        number, origin = Slot(slot), self._key.address
        return Status(
            era=FIRST_ERA, undecided=Height(undecided), tip=tip, clock_slot=number, origin=origin, hears=bytes(2)
        )

    # --- the three classes -----------------------------------------------------------------------------------

    def far_future(self) -> Iterator[PeerMessage]:
        """Yields messages of heights and slots that nobody will live to see."""
        while True:
            height = self._random.choice((10**6, 10**9, 10**15, NUMBER_MAX - 10**6)) + self._random.randrange(10**6)
            slot = self._random.randrange(10**9, NUMBER_MAX)
            yield from self.statements(height, slot, self._digest())
            yield self._status(height, slot, self._digest())
            yield self._proposal(height, slot, self._junk[:1_000])
            yield self._decided(height, self._junk[:1_000])
            yield Body(height=Height(height), block=self._digest(), proposal=self._junk[:1_000])
            yield BodyRequest(height=Height(height), block=self._digest())
            yield BlocksRequest(first=Height(height), count=BLOCKS_PER_ANSWER_MAX)

    def near_future(self, undecided: int) -> list[PeerMessage]:
        """Returns messages of the few heights ahead that a receiver may hold, with bodies."""
        heights = range(undecided + 1, undecided + 1 + DECIDED_AHEAD_MAX)
        ahead: list[PeerMessage] = [self._decided(height, self._junk) for height in heights]
        ahead.append(self._proposal(undecided + 1, NUMBER_MAX, self._junk))
        return ahead

    def duplicates(self, undecided: int, slot: int) -> list[PeerMessage]:
        """Returns valid statements of the present height, and what was decided long ago."""
        block = Digest(bytes(32))  # always the same: no two votes of one slot differ
        return [
            *self.statements(undecided, slot, block),
            *self.statements(max(1, undecided - 20), 1, block),
            self._status(undecided, slot, block),
            self._status(1, slot, self._chain),
            BlocksRequest(first=Height(1), count=BLOCKS_PER_ANSWER_MAX),
            question_of(self._key, bytes(NONCE_SIZE_BYTES), self._era),
            OfferRequest(request_id=1, interval_start_ms=Milliseconds(0), wanted_wh=WattHours(1)),
        ]

    def malformed(self, undecided: int, slot: int) -> list[PeerMessage]:
        """Returns messages whose form is right and whose content is not."""
        height, block = Height(undecided), self._digest()
        claim = Claim(slot=Slot(1), block=block)
        return [
            *self.statements(undecided, slot, block, NO_SIGNATURE),
            ViewChange(
                height=height,
                slot=Slot(slot),
                claim=claim,
                signer=self._key.address,
                signature=NO_SIGNATURE,
                certificate=None,
            ),
            self._proposal(undecided, slot, self._junk[:500]),
            self._decided(undecided, self._junk[:500]),
            Body(height=height, block=block, proposal=self._junk[:500]),
            Blocks(first=height, blocks=(self._decided(undecided, self._junk[:500]),)),
            HeightAnswer(
                era=FIRST_ERA,
                asker=self._key.address,
                nonce=bytes(NONCE_SIZE_BYTES),
                undecided=height,
                signer=self._key.address,
                signature=NO_SIGNATURE,
            ),
            Transactions(raw=(self._junk[:TRANSACTION_SIZE_BYTES_MAX], self._junk[:100])),
            OfferDecline(offer_counter=7),
        ]

    def garbage(self) -> bytes:
        """Returns a frame that is no message."""
        whole = encode_peer_message(self._status(1, 1, self._digest()))
        kinds = (whole[:-1], whole + b"\0", self._junk[: self._random.randrange(1, 5_000)], b"")
        return self._random.choice(kinds)


Turn = Sequence[tuple[str, bytes]]
"""Class and frame of what is sent one after the other."""


class Flooder:
    """Sends to all others."""

    def __init__(self, testnet: Testnet, number: int, messages: int) -> None:
        """Takes the flooder's member number, from 1, and how many messages to send in all."""
        own = testnet.nodes[number - 1]
        self._identity = load_identity(testnet.home(own))
        self._targets = [node for node in testnet.nodes if node is not own]
        self._arsenal = Arsenal(self._identity.node_key, Digest(bytes.fromhex(testnet.manifest.chain)), number)
        self._left = messages
        far = itertools.islice(self._arsenal.far_future(), FAR_FRAMES)
        self._far = [("far_future", encode_peer_message(message)) for message in far]
        self._turn: Turn = self._far
        self.sent = Sent()

    async def run(self) -> None:
        """Sends until all is sent."""
        start_s = time.monotonic()
        await self._refresh()
        refreshing = asyncio.create_task(self._refresh_for_ever())
        try:
            await asyncio.gather(*(self._flood(node) for node in self._targets))
        finally:
            refreshing.cancel()
        self.sent.elapsed_s = round(time.monotonic() - start_s, 1)

    async def _refresh_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            await self._refresh()

    async def _refresh(self) -> None:
        """Makes the messages of the present height."""
        async with open_client() as client:
            status = await client.status(self._targets[0].api_url)
        if status is None:
            return
        undecided, slot = status.height + 1, status.slot
        duplicates = [encode_peer_message(message) for message in self._arsenal.duplicates(undecided, slot)]
        malformed = [encode_peer_message(message) for message in self._arsenal.malformed(undecided, slot)]
        repeated = zip(self._far, itertools.cycle(duplicates), itertools.cycle(malformed), strict=False)
        turn = [item for far, again, bad in repeated for item in (far, ("duplicate", again), ("malformed", bad))]
        ahead = [("far_future", encode_peer_message(message)) for message in self._arsenal.near_future(undecided)]
        for index, item in enumerate(ahead):
            turn[(index + 1) * len(turn) // (len(ahead) + 1)] = item
        self._turn = turn

    # --- one link ----------------------------------------------------------------------------------------------

    async def _flood(self, node: TestnetNode) -> None:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
            while self._left > 0:
                try:
                    await self._flood_over_one_link(session, node)
                except (aiohttp.ClientError, OSError):
                    self.sent.refused_links += 1
                    await asyncio.sleep(DIAL_PAUSE_S)

    async def _flood_over_one_link(self, session: aiohttp.ClientSession, node: TestnetNode) -> None:
        url = f"wss://{node.p2p_host}:{node.p2p_port}{MESH_PATH}"
        context = self._identity.client_ssl_context()
        async with session.ws_connect(url, ssl=context, timeout=aiohttp.ClientWSTimeout(ws_close=2.0)) as link:
            self.sent.links += 1
            reading = asyncio.create_task(_read(link))
            try:
                await self._send(link)
                if not link.closed:
                    await self._send_garbage(link, reading)
            finally:
                reading.cancel()

    async def _send(self, link: aiohttp.ClientWebSocketResponse) -> None:
        end_s = time.monotonic() + GARBAGE_INTERVAL_S
        while self._left > 0 and not link.closed and time.monotonic() < end_s:
            for name, frame in self._turn:
                if self._left <= 0 or link.closed or time.monotonic() >= end_s:
                    return
                self._count(name)
                await link.send_bytes(frame)

    async def _send_garbage(self, link: aiohttp.ClientWebSocketResponse, reading: "asyncio.Task[None]") -> None:
        """Ends a link by a frame that is no message; everything before it was read once the other side closes."""
        self._count("malformed")
        await link.send_bytes(self._arsenal.garbage())
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(reading), LINK_DEADLINE_S)

    def _count(self, name: str) -> None:
        self._left -= 1
        setattr(self.sent, name, getattr(self.sent, name) + 1)


async def _read(link: aiohttp.ClientWebSocketResponse) -> None:
    """Reads until the link ends, which answers pings."""
    while (await link.receive()).type not in {
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSING,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
    }:
        pass


def main() -> int:
    """Floods; returns the process's exit code."""
    directory, number, messages = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    flooder = Flooder(Testnet.open(directory), number, messages)
    asyncio.run(flooder.run())
    figures: dict[str, Any] = asdict(flooder.sent)
    sys.stdout.write(json.dumps(figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
