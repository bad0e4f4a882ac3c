"""What a member gives a home that wants to join: the chain as it stands, and where its members are."""

import time
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from consensus.codec import DecodeError, decode
from consensus.cryptography import address_of
from consensus.identifiers import Digest, Height, PublicKey
from contracts.units import MS_PER_HOUR
from ledger.block import block_digest
from ledger.checkpoint import Checkpoint, CheckpointProof, checkpoint_of
from ledger.errors import CheckpointRefused
from ledger.ledger import Ledger
from node.admission.endpoint import Endpoint, endpoint_of
from node.admission.identity import load_certified_key, load_chain
from node.admission.joining.files import Street
from node.cli.asking import Question, ask
from node.errors import EndpointsDamaged, JoinError
from node.home.configuration import PEERS_MAX, Configuration, PeerEntry
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.mesh.endpoint_file import load_endpoints
from node.mesh.endpoint_record import EndpointRecord, decode_record
from node.mesh.endpoints import places_of
from node.mesh.limits import PeerEndpoint
from node.replies.node import CheckpointReply
from node.stories.checkpoint import checkpoint_reply
from node.stories.slices import Slices
from node.stories.words import day_text

NS_PER_MS: Final = 1_000_000
MS_PER_DAY: Final = 24 * MS_PER_HOUR
TRUSTED_MS: Final = 30 * MS_PER_DAY
"""How long ago the block of a street file may be."""


def street_of(config: Path, configuration: Configuration) -> Street:
    """Returns the chain of a member's home as it stands, and where the members are as far as the home knows.

    Raises:
        JoinError: it cannot be proven, or the home's own place is not known.
    """
    home = configuration.home
    genesis = load_genesis(home)
    question = Question(path="/v1/checkpoint", model=CheckpointReply, read=lambda ledger, _: checkpoint_reply(ledger))
    told = ask(config, question)
    try:
        proof = decode(bytes.fromhex(told.proof), CheckpointProof)
        checkpoint = checkpoint_of(proof, genesis)
    except (DecodeError, CheckpointRefused) as error:
        raise JoinError(f"who is a member cannot be proven to who has genesis: {error}") from None
    return Street(
        genesis=genesis,
        root=load_chain(home.authority_certificate)[0],
        proof=proof,
        peers=_places(configuration, checkpoint),
    )


def _places(configuration: Configuration, checkpoint: Checkpoint) -> tuple[PeerEntry, ...]:
    """Returns where members are, this home first: as they signed it, else as meter.toml has it."""
    home, now_ms = configuration.home, time.time_ns() // 1_000_000
    members = dict(checkpoint.following)
    own_key = load_certified_key(home).public_key
    own = next((address for address, key in members.items() if key == own_key), address_of(own_key))
    records = _records(home, checkpoint)
    first = {peer.address_bytes: Endpoint(peer.host, peer.port) for peer in configuration.p2p.peers}
    first[own] = _own_place(home)
    found = []
    for address in sorted(members, key=lambda one: one != own):
        host, port = first.get(address, (None, None))
        signed = [records[members[address]]] if address != own and members[address] in records else []
        places = places_of(PeerEndpoint(address=address, host=host, port=port), signed, now_ms)
        found += [PeerEntry(address=address.hex(), host=place.host, port=place.port) for place in places[:1]]
    if not found:
        raise JoinError("this home is no member, and knows no place of those that are")
    return tuple(found[:PEERS_MAX])


def _own_place(home: Home) -> Endpoint:
    certified = endpoint_of(load_chain(home.certificate)[0].extensions)
    if certified is None:
        raise JoinError(f"{home.certificate}: names no place where this home is reached")
    return certified


def _records(home: Home, checkpoint: Checkpoint) -> dict[PublicKey, EndpointRecord]:
    """Returns what this home keeps of where others said that they are; nothing where its file is damaged."""
    found = {}
    try:
        raws = load_endpoints(home.endpoints, checkpoint.chain)
    except EndpointsDamaged:
        return {}
    for raw in raws:
        try:
            record = decode_record(raw)
        except DecodeError:
            continue
        if record.holds_on(checkpoint.chain):
            found[record.node_key] = record
    return found


class _DecidedBlock(BaseModel):
    """What a node says of a block, as far as it is asked here."""

    digest: str


def block_name(config: Path, height: Height) -> Digest:
    """Returns the name of the block that a member's home has at a height.

    Raises:
        NodeError: it has none, or its node does not answer.
    """

    def read(ledger: Ledger, _: Home) -> Slices[_DecidedBlock]:
        yield from ()
        if height > ledger.height:
            raise JoinError(f"this home has no block {height} yet: its newest is {ledger.height}")
        return _DecidedBlock(digest=block_digest(ledger.decided_block(height).header).hex())

    told = ask(config, Question(path=f"/v1/blocks/{height}", model=_DecidedBlock, read=read))
    return Digest(bytes.fromhex(told.digest))


def block_text(point: Checkpoint) -> str:
    """Returns a block's height and whole name, to be compared by people."""
    return f"block {point.height:,} ({point.block.hex()})"


def require_recent(file: Path, street: Street) -> None:
    """Refuses what is too old: keys of members may have been sold since, and nobody be where it says.

    Raises:
        JoinError: its block is of long ago.
    """
    genesis, now_ms = street.genesis, time.time_ns() // NS_PER_MS
    made_ms = genesis.start_ms + street.checkpoint.slot * genesis.slot_duration_ms
    if now_ms - made_ms > TRUSTED_MS:
        raise JoinError(
            f"{file}: its block is of {day_text(made_ms)}, longer ago than {TRUSTED_MS // MS_PER_DAY} days: ask a "
            "member for a new one (p2pnode join street)"
        )
