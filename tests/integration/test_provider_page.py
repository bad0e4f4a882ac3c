"""docs/changing-the-provider.md: every command on the page is run here, in its order, on real homes."""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

from node.admission.authority_folder import AuthorityFolder
from node.admission.endpoint import Endpoint, endpoint_of
from node.admission.identity import certificate_key, load_chain, load_key
from node.admission.meter_claim import claim_meter
from node.admission.request import make_request
from node.home.genesis_file import load_genesis
from node.testnet.folder import AUTHORITY_KEY_FILE_NAME
from tests.support.ceremony_commands import decide_blocks, running
from tests.support.long_chain import make_street
from tests.support.pages import commands_of, run
from tests.support.testnet import Street, cleaned_up

PAGE = "changing-the-provider.md"
PLACE = "http://127.0.0.1:8000"
"""Of the first home's API, on the page."""


@pytest.fixture
def street(tmp_path: Path) -> Iterator[Street]:
    """Four homes with the requests that they once made, their provider beside them."""
    target = tmp_path / "street"
    with cleaned_up(target):
        street = make_street(target, nodes=4)
        for node, member in zip(street.nodes, load_genesis(street.node(1).home).members, strict=True):
            endpoint = endpoint_of(load_chain(node.home.certificate)[0].extensions)
            assert isinstance(endpoint, Endpoint)
            claim = claim_meter(member.node_key, load_key(node.home.meter_key), member.capacity_w)
            node.home.request.write_bytes(make_request(node.name, node.home.node_key, endpoint, claim))
        yield street


def until_ms(street: Street) -> list[int]:
    members = street.node(1).request("/v1/members").document["members"]
    return [int(one["valid_until_ms"]) for one in members]


def test_the_page_is_run_from_top_to_bottom(street: Street) -> None:
    """While nodes are to run they do, and while files are exchanged none does."""
    assert (street.directory / AUTHORITY_KEY_FILE_NAME).name == "ca.passphrase", "as the page has it"
    parts = [list(part) for _, part in groupby(commands_of(PAGE), key=lambda command: command.startswith("cp "))]
    before, exchange, after = parts
    with running(*street.nodes):
        decide_blocks(street, 1)
        ended = until_ms(street)
        for command in before:
            said = run(street.directory, command.replace(PLACE, street.node(1).url))
        following = AuthorityFolder(street.directory / "ca-2").root()
        assert certificate_key(following).hex()[:16] in said, "the chain has the next provider's key"
    for command in exchange:
        run(street.directory, command)
    with running(*street.nodes):
        for command in after:
            run(street.directory, command)
        decide_blocks(street, 1)
        assert all(new > old for new, old in zip(until_ms(street), ended, strict=True))
    assert all(load_chain(node.home.authority_certificate) == (following,) for node in street.nodes)
