"""Genesis on disk: the canonical bytes that nodes load, and JSON for people that converts back exactly."""

import json
from pathlib import Path
from typing import Final

import msgspec

from consensus.codec import DecodeError, decode, encode
from consensus.cryptography import address_of
from consensus.rendering import render, unrender
from contracts.genesis import Genesis, chain_id, known_text, knows_version
from ledger.show import Json
from node.errors import ConfigurationError
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.folder import Home

GENESIS_SIZE_BYTES_MAX: Final = 256 * 1024
"""256 members with the longest names take about 40 KiB."""

FILE_SIZE_BYTES_MAX: Final = 8 * GENESIS_SIZE_BYTES_MAX
"""As JSON: hexadecimal, field names and indentation take several times the canonical bytes."""


class _Versioned(msgspec.Struct):
    """What a genesis of any version's form says of itself."""

    protocol_version: int


def load_genesis(home: Home) -> Genesis:
    """Returns the genesis that a node's folder holds.

    Raises:
        ConfigurationError: missing, damaged, or of rules that this software does not know.
    """
    require_genesis(home)
    return load_genesis_file(home.genesis)


def require_genesis(home: Home) -> None:
    """Says before anything is opened that a home founded no chain yet.

    Raises:
        ConfigurationError: it has no genesis.
    """
    if not home.genesis.exists():
        raise ConfigurationError(
            f"{home.genesis}: is not there. A home gets its genesis when it founds a chain (p2pnode genesis sign) "
            "or asks to join one (p2pnode join request)"
        )


def load_genesis_file(path: Path) -> Genesis:
    """Returns the genesis in a file of either form.

    Raises:
        ConfigurationError: missing, damaged, or of rules that this software does not know.
    """
    try:
        content = read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX)
        is_text = content.lstrip().startswith(b"{")
        version = _version_in_text(content) if is_text else _version_in(content)
        if not knows_version(version):
            versions = f"protocol version {version}; this software knows version {known_text()}"
            raise ConfigurationError(f"{path}: follows {versions}")
        return parse_genesis(content) if is_text else decode(content, Genesis, size_bytes_max=GENESIS_SIZE_BYTES_MAX)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise ConfigurationError(f"{path}: {error}, which no genesis is") from None
    except (DecodeError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is damaged: {error}") from None


def _version_in(content: bytes) -> int:
    """Returns the version that a genesis of any version's form begins with."""
    fields = msgspec.msgpack.decode(content, type=list[msgspec.Raw])
    return msgspec.msgpack.decode(fields[0], type=int) if fields else 0


def _version_in_text(content: bytes) -> int:
    return msgspec.json.decode(content, type=_Versioned).protocol_version


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


def parse_genesis(text: bytes) -> Genesis:
    """Returns the genesis that `render_genesis` shows, whose chain and addresses must be the shown ones.

    Raises:
        ValueError: it is not such a text, or something in it was changed.
    """
    try:
        fields = json.loads(text)
        genesis = unrender(fields, Genesis)
        shown = json.loads(render_genesis(genesis))
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"not the form of genesis.json ({error})") from None
    if shown != fields:
        raise ValueError("chain and addresses are not those that follow from its content: it was changed")
    return genesis
