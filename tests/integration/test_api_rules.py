"""What the API says of rules that this program does not know, and what that costs a request."""

from collections.abc import Callable
from pathlib import Path

import pytest

from consensus.identifiers import Height
from contracts.genesis import PROTOCOL_VERSION
from contracts.rule_records import RulesChange
from contracts.rules import NOTICE_HEIGHTS
from contracts.state import StateKey, proposal_key
from contracts.transactions import Action, Approve, Propose
from ledger.ledger import Ledger
from tests.support.api import ApiHarness, running_api
from tests.support.contracts import make_genesis

HOMES = make_genesis(5)
PATHS = {
    "/healthz": lambda reply: reply["notices"],
    "/v1/status": lambda reply: [reply["rules_notice"]] if reply["rules_notice"] else [],
    "/v1/why": lambda reply: [notice for notice in reply["notices"] if "protocol version" in notice],
    "/v1/rules": lambda reply: [reply["notice"]] if reply["notice"] else [],
}
"""Where people and programs look, and how each says it."""


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[StateKey]:
    """The keys that are read of a ledger from now on."""
    found: list[StateKey] = []
    honest: Callable[[Ledger, StateKey], bytes | None] = Ledger.get

    def get(ledger: Ledger, key: StateKey) -> bytes | None:
        found.append(key)
        return honest(ledger, key)

    monkeypatch.setattr(Ledger, "get", get)
    return found


def decide(api: ApiHarness, *actions: tuple[int, Action]) -> None:
    api.decide([api.builder.transaction(member, action) for member, action in actions])


def next_rules(api: ApiHarness) -> RulesChange:
    rules = api.ledger.rules
    first = Height(api.ledger.height + 16 + NOTICE_HEIGHTS)
    return RulesChange(version=rules.version + 1, from_height=first, parameters=rules.parameters)


async def notices(api: ApiHarness) -> set[str]:
    """Returns what all places say: the same, also those that look it up anew."""
    said = [tuple(told(await api.get(path))) for path, told in PATHS.items()]
    assert len(set(said)) == 1
    return set(said[0])


async def test_a_request_reads_no_proposals_and_each_place_says_the_same(
    tmp_path: Path, reads: list[StateKey]
) -> None:
    proposals = {proposal_key(address) for address in HOMES.addresses}
    async with running_api(tmp_path, community=HOMES) as api:
        decide(api)
        assert await notices(api) == set()
        decide(api, (1, Propose(subject=next_rules(api))))
        (receipt,) = api.ledger.receipts(api.ledger.height)
        (said,) = await notices(api)
        assert said.startswith(f"home2 proposes protocol version {PROTOCOL_VERSION + 1} ")

        for path in ("/healthz", "/v1/status", "/v1/why"):
            reads.clear()
            await api.get(path)
            assert not proposals & set(reads), path
        reads.clear()
        decide(api)
        assert proposal_key(HOMES.addresses[1]) in reads, "each block's look reads them"

        approval = Approve(proposer=HOMES.addresses[1], proposal=receipt.transaction)
        decide(api, *((member, approval) for member in (0, 2, 3)))
        (said,) = await notices(api)
        assert f"the members approved protocol version {PROTOCOL_VERSION + 1}" in said
