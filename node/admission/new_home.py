"""The home of a node from its keys to its first start.

Keys are born here and never leave: what goes out is a request for a certificate, and a signature under the founding
of a chain. What comes in is the founding that all homes agree on.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from consensus.codec import encode
from consensus.events import fresh_sign_state
from consensus.identifiers import FIRST_HEIGHT
from contracts.genesis import Genesis, chain_id
from ledger.side_files import sync_directory, write_whole
from node.admission.endpoint import Endpoint
from node.admission.founding import (
    Founder,
    Founding,
    FoundingSignature,
    sign_founding,
)
from node.admission.identity import create_key, load_key
from node.admission.meter_claim import claim_meter
from node.admission.request import make_request
from node.errors import FoundingError
from node.home.configuration import Configuration, PeerEntry, PriceTable, load_configuration
from node.home.configuration_text import render_configuration, with_changes
from node.home.folder import Home
from node.home.genesis_file import load_genesis, write_genesis
from node.home.sign_state import SignStateFile
from node.names.address_book import change_book, with_all
from node.names.card import call

CAPACITY_W_DEFAULT: Final = 43_000
"""An ordinary house connection: three phases of 63 A at 230 V."""


@contextmanager
def made_whole(directory: Path) -> Iterator[Home]:
    """Makes a home's folder, which is there with all that the block puts in, or not at all.

    Raises:
        FoundingError: something is there already.
    """
    if directory.is_symlink() or directory.exists():
        raise FoundingError(f"{directory}: is there already, and is not changed")
    home = Home(directory)
    try:
        directory.mkdir(mode=0o700)
        yield home
        sync_directory(directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def make_home(directory: Path, configuration: Configuration, endpoint: Endpoint, *, capacity_w: int) -> Home:
    """Makes the home of a node that will found or join a chain: keys, meter.toml, and the request for a certificate.

    Args:
        directory: must not exist.
        configuration: without peers; they come with the founding.
        endpoint: where others reach it.
        capacity_w: of the connection that its meter measures.

    Raises:
        FoundingError: something is there already.
        AddressBookError: its name cannot be.
    """
    with made_whole(directory) as home:
        node_key, meter_key = create_key(home.node_key), create_key(home.meter_key)
        home.configuration.write_text(render_configuration(configuration), encoding="utf-8")
        claim = claim_meter(node_key.public_key, meter_key, capacity_w)
        home.request.write_bytes(make_request(configuration.node.name, home.node_key, endpoint, claim))
        own = call(configuration.node.name)
        change_book(home.address_book, lambda book: book.with_entry(node_key.address, own))
    return home


def found_from(home: Home, founding: Founding, everybody: Sequence[Founder]) -> FoundingSignature:
    """Lets a home found a chain: writes all that it starts with, and returns its signature.

    The sign state is made with the first genesis only: a home that lost its own must not begin afresh on a chain on
    which it may have signed. Doing it again gives the same signature.

    Args:
        home: with its keys.
        founding: with this home among the members. The names on its cards go into the home's address book.
        everybody: what `check_founding` says of it.

    Raises:
        FoundingError: it does not have this home, or has another meter than its own; or the home takes part in
            another chain already.
        AddressBookError: its address book calls another one so.
    """
    signature = sign_founding(founding, load_key(home.node_key))
    own = next(founder for founder in everybody if founder.address == signature.member)
    if own.member.meter_key != load_key(home.meter_key).public_key:
        raise FoundingError(f"{own.name}: the founding names another meter than {home.meter_key}")
    is_known = _known_chain(home) == chain_id(founding.genesis)
    if not is_known and home.ledger.exists():
        raise FoundingError(f"{home.directory}: takes part in another chain already, and is not changed")
    called = [(founder.address, founder.called) for founder in everybody if founder.called is not None]
    change_book(home.address_book, lambda book: with_all(book, called))
    if is_known:
        return signature
    if not home.sign_state.exists():
        SignStateFile.create(home.sign_state, encode(fresh_sign_state(FIRST_HEIGHT)))
    write_whole(home.authority_certificate, founding.authority.encode())
    write_whole(home.certificate, own.certificate.encode())
    peers = tuple(_peer(founder) for founder in everybody if founder is not own)
    write_whole(home.configuration, configured(home, founding.genesis, peers).encode())
    write_genesis(home, founding.genesis)  # last: who has it begins nothing afresh
    return signature


def _known_chain(home: Home) -> bytes | None:
    """Returns the chain whose genesis a home has; None before it founded one."""
    return chain_id(load_genesis(home)) if home.genesis.exists() else None


def _peer(founder: Founder) -> PeerEntry:
    host, port = founder.endpoint
    return PeerEntry(address=founder.address.hex(), host=host, port=port)


def configured(home: Home, rules: Genesis, peers: tuple[PeerEntry, ...]) -> str:
    """Returns a home's meter.toml with the others as peers, and with prices that the street's tariffs allow.

    Raises:
        ConfigurationError: the home's meter.toml does not load.
    """
    configuration = load_configuration(home.configuration)
    least, most = rules.price_min_micro_per_kwh, rules.price_max_micro_per_kwh
    asked = configuration.price.sell_micro_per_kwh
    price = PriceTable(
        sell_micro_per_kwh=asked if least <= asked <= most else (least + most) // 2, buy_max_micro_per_kwh=most
    )
    return with_changes(
        home.configuration.read_text(encoding="utf-8"),
        p2p={"peers": peers},
        price=price.model_dump(),
    )
