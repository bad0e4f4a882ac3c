"""A home's next key: what is asked for, what a chain takes, and that a crash at any step loses neither key."""

import os
import shutil
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from consensus.cryptography import SigningKey
from consensus.identifiers import Digest
from contracts.transactions import KeyUse, ReplaceMeter, RotateKey
from contracts.vouchers import vouchers_hold
from node.admission.authority import Authority
from node.admission.endpoint import Endpoint
from node.admission.identity import certificate_key, create_key, load_key
from node.admission.new_home import make_home
from node.admission.next_keys import (
    StateOfKeys,
    action_of,
    begun_exchange,
    discard,
    finish_taking,
    home_keys,
    is_in_force,
    load_identities,
    may_take,
    prepare,
    take,
    take_certificate,
)
from node.admission.request import read_request
from node.errors import IdentityError
from node.home.configuration import ApiTable, Configuration, NodeTable, PeerToPeerTable
from node.home.folder import Home

PERSON = Digest(bytes([7]) * 32)
CHAIN = Digest(bytes([9]) * 32)
CAPACITY_W = 11_000
USES = pytest.mark.parametrize("use", list(KeyUse))


class Street:
    """A certified home and its authority."""

    def __init__(self, directory: Path) -> None:
        self.authority = Authority("street", now=datetime.now(UTC).replace(microsecond=0) - timedelta(days=30))
        configuration = Configuration(
            node=NodeTable(name="home"), p2p=PeerToPeerTable(port=7_005), api=ApiTable(port=8_005)
        )
        self.home = make_home(directory / "home", configuration, Endpoint("127.0.0.1", 7_005), capacity_w=CAPACITY_W)
        self.home.authority_certificate.write_bytes(self.authority.certificate_pem())
        self.home.certificate.write_bytes(self.certificate(self.home.request))
        self.first, self.first_meter = load_key(self.home.node_key), load_key(self.home.meter_key)

    def certificate(self, request: Path, *, person: Digest | None = PERSON) -> bytes:
        asked = read_request(request)
        host, port = asked.endpoint
        return self.authority.issue(asked.node_key, host=host, port=port, meter=asked.meter, person=person)

    def begin(self, use: KeyUse) -> SigningKey:
        """Goes as far as the chain could be asked."""
        prepare(self.home, use, name="home", capacity_w=CAPACITY_W)
        take_certificate(self.home, use, self.certificate(self.home.next.request))
        return load_key(self.home.next.node_key if use is KeyUse.NODE else self.home.next.meter_key)

    def state(self, use: KeyUse, new: SigningKey, *, voting: SigningKey | None) -> StateOfKeys:
        """Of a chain that has the new key."""
        is_node = use is KeyUse.NODE
        return StateOfKeys(
            acting=(new if is_node else self.first).public_key,
            voting=None if voting is None else voting.public_key,
            meter=(self.first_meter if is_node else new).public_key,
        )

    def keys(self) -> tuple[bytes, bytes]:
        return load_key(self.home.node_key).public_key, load_key(self.home.meter_key).public_key


@pytest.fixture
def street(tmp_path: Path) -> Street:
    return Street(tmp_path)


@USES
def test_the_chain_is_asked_with_the_new_key_beside_the_other_one(street: Street, use: KeyUse) -> None:
    new = street.begin(use)
    action = action_of(street.home, use, CHAIN, street.first.address)
    assert isinstance(action, RotateKey if use is KeyUse.NODE else ReplaceMeter)
    assert action.key == new.public_key
    assert vouchers_hold(action.vouchers, certificate_key(street.authority.root))
    voucher, is_node = action.vouchers.home, use is KeyUse.NODE
    assert voucher.node_key == (new if is_node else street.first).public_key
    assert voucher.meter_key == (street.first_meter if is_node else new).public_key
    assert (voucher.capacity_w, voucher.person) == (CAPACITY_W, PERSON)
    asked = read_request(street.home.next.request)
    assert (asked.name, asked.endpoint) == ("home", Endpoint("127.0.0.1", 7_005))
    assert street.home.next.directory.stat().st_mode & 0o777 == 0o700


@USES
def test_preparing_again_makes_no_other_key(street: Street, use: KeyUse) -> None:
    """As after a crash behind any of the files."""
    new = street.begin(use)
    request = street.home.next.request.read_bytes()
    prepare(street.home, use, name="home", capacity_w=CAPACITY_W)
    assert street.home.next.request.read_bytes() == request
    street.home.next.request.unlink()
    assert street.begin(use).public_key == new.public_key


@USES
def test_a_certificate_of_another_key_or_meter_is_refused(street: Street, use: KeyUse) -> None:
    prepare(street.home, use, name="home", capacity_w=CAPACITY_W)
    earlier = street.home.certificate.read_bytes()
    with pytest.raises(IdentityError, match=r"of another meter|not of the key"):
        take_certificate(street.home, use, earlier)
    with pytest.raises(IdentityError, match="vouches for no meter"):
        take_certificate(street.home, use, street.certificate(street.home.next.request, person=None))
    assert not street.home.next.certificate.exists()
    assert load_identities(street.home)[0].node_key.public_key == street.first.public_key


def test_a_certificate_of_another_authority_is_refused(street: Street) -> None:
    prepare(street.home, KeyUse.NODE, name="home", capacity_w=CAPACITY_W)
    street.authority = Authority("other")
    with pytest.raises(IdentityError):
        take_certificate(street.home, KeyUse.NODE, street.certificate(street.home.next.request))


@USES
def test_the_next_key_is_in_use_once_the_chain_has_it_and_takes_the_place_once_the_old_one_votes_no_more(
    street: Street, use: KeyUse
) -> None:
    new = street.begin(use)
    before = StateOfKeys(street.first.public_key, street.first.public_key, street.first_meter.public_key)
    assert not is_in_force(street.home, before)
    assert not may_take(street.home, before)
    window = street.state(use, new, voting=street.first)
    assert is_in_force(street.home, window)
    assert may_take(street.home, window) is (use is KeyUse.METER)
    for voting in (new if use is KeyUse.NODE else street.first, None):
        assert may_take(street.home, street.state(use, new, voting=voting))


def test_a_node_has_both_keys_while_it_exchanges_them(street: Street) -> None:
    assert len(load_identities(street.home)) == 1
    prepare(street.home, KeyUse.NODE, name="home", capacity_w=CAPACITY_W)
    assert len(load_identities(street.home)) == len(home_keys(street.home)) == 1, "no certificate yet"
    new = street.begin(KeyUse.NODE)
    keys = [one.node_key.public_key for one in load_identities(street.home)]
    assert keys == [street.first.public_key, new.public_key] == [one.public_key for one in home_keys(street.home)]
    for one in load_identities(street.home):
        one.server_ssl_context()
        one.client_ssl_context()


@USES
def test_taken_files_replace_the_old_ones(street: Street, use: KeyUse) -> None:
    new, certificate = street.begin(use), street.home.next.certificate.read_bytes()
    take(street.home)
    is_node = use is KeyUse.NODE
    assert street.keys() == (
        (new if is_node else street.first).public_key,
        (street.first_meter if is_node else new).public_key,
    )
    assert street.home.certificate.read_bytes() == certificate
    assert begun_exchange(street.home) is None
    assert not street.home.next.directory.exists()
    assert not street.home.taken.directory.exists()
    (identity,) = load_identities(street.home)
    assert identity.node_key.public_key == street.keys()[0]


class PowerLost(BaseException):
    """Nothing after it reached the disk."""


@USES
@pytest.mark.parametrize("survived", range(8))
def test_a_crash_while_files_are_taken_goes_on_at_the_next_start(
    street: Street, monkeypatch: pytest.MonkeyPatch, use: KeyUse, survived: int
) -> None:
    """After each name that changes on the disk."""
    new, done = street.begin(use), 0

    def counted(change: object) -> object:
        def changed(*arguments: object, **options: object) -> object:
            nonlocal done
            if done == survived:
                raise PowerLost
            done += 1
            return change(*arguments, **options)  # type: ignore[operator]

        return changed

    with monkeypatch.context() as patch:
        for owner, name in ((os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir")):
            patch.setattr(owner, name, counted(getattr(owner, name)))
        with suppress(PowerLost):
            take(street.home)
    state = street.state(use, new, voting=new if use is KeyUse.NODE else street.first)
    load_identities(street.home)
    if may_take(street.home, state):
        take(street.home)
    assert new.public_key in set(street.keys())
    assert not street.home.next.directory.exists()
    assert not street.home.taken.directory.exists()
    assert len(load_identities(street.home)) == 1


def test_finishing_what_was_never_begun_changes_nothing(street: Street) -> None:
    before = street.keys()
    finish_taking(street.home)
    assert street.keys() == before


@USES
def test_a_next_key_may_be_given_up(street: Street, use: KeyUse) -> None:
    before = street.keys()
    street.begin(use)
    discard(street.home)
    assert begun_exchange(street.home) is None
    assert street.keys() == before
    assert not street.home.next.directory.exists()


def test_a_key_that_is_cut_off_is_told(street: Street) -> None:
    home = Home(street.home.directory)
    home.next.directory.mkdir()
    create_key(home.next.node_key)
    home.next.node_key.write_bytes(home.next.node_key.read_bytes()[:40])
    with pytest.raises(IdentityError, match="not a private key"):
        prepare(home, KeyUse.NODE, name="home", capacity_w=CAPACITY_W)
    shutil.rmtree(home.next.directory)


@USES
def test_a_disk_that_takes_nothing_is_told_and_loses_nothing(street: Street, use: KeyUse) -> None:
    home, before = street.home, street.keys()
    home.next.directory.write_bytes(b"in the way")
    with pytest.raises(IdentityError, match="cannot be written or moved"):
        prepare(home, use, name="home", capacity_w=CAPACITY_W)
    home.next.directory.unlink()
    new = street.begin(use)
    home.taken.directory.mkdir()
    (home.taken.directory / "in the way").touch()
    with pytest.raises(IdentityError, match="cannot be written or moved"):
        take(home)
    assert street.keys() == before
    shutil.rmtree(home.taken.directory)
    take(home)
    assert new.public_key in set(street.keys())
