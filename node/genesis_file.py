"""Genesis on disk: the canonical bytes that nodes load, and the same as JSON for people."""

import json
from typing import Final

from consensus.codec import DecodeError, decode, encode
from consensus.cryptography import address_of
from contracts.genesis import PROTOCOL_VERSION, Genesis, chain_id
from ledger.show import Json, render
from node.errors import ConfigurationError
from node.home import Home

GENESIS_SIZE_BYTES_MAX: Final = 256 * 1024
"""256 members with the longest names take about 40 KiB."""


def load_genesis(home: Home) -> Genesis:
    """Returns the genesis that a node's folder holds.

    Raises:
        ConfigurationError: missing, damaged, or of rules that this software does not know.
    """
    try:
        encoded = home.genesis.read_bytes()
        genesis = decode(encoded, Genesis, size_bytes_max=GENESIS_SIZE_BYTES_MAX)
    except OSError as error:
        raise ConfigurationError(f"{home.genesis}: cannot be read: {error.strerror}") from None
    except DecodeError as error:
        raise ConfigurationError(f"{home.genesis}: is damaged: {error}") from None
    if genesis.protocol_version != PROTOCOL_VERSION:
        versions = f"protocol version {genesis.protocol_version}; this software knows version {PROTOCOL_VERSION}"
        raise ConfigurationError(f"{home.genesis}: follows {versions}")
    return genesis


def write_genesis(home: Home, genesis: Genesis) -> None:
    """Writes both forms into a node's folder."""
    home.genesis.write_bytes(encode(genesis))
    home.genesis_text.write_text(render_genesis(genesis), encoding="utf-8")


def render_genesis(genesis: Genesis) -> str:
    """Returns genesis as JSON, keys in hex, with the chain's name and the members' addresses added."""
    fields: Json = {"chain": chain_id(genesis).hex(), **render(genesis)}
    fields["members"] = [
        {"address": address_of(member.node_key).hex(), **render(member)} for member in genesis.members
    ]
    return json.dumps(fields, indent=2) + "\n"
