"""Admissions are counted by what became of them: once each, whatever else the blocks do."""

from collections import Counter
from pathlib import Path
from typing import cast

from contracts.applicants import Standing, Verdict
from node.chain.applied import AppliedBlock
from node.metrics.admissions import AdmissionWatch
from tests.support.joining import newcomer, request_of, verdict_on
from tests.support.ledger import ChainBuilder

ANY_BLOCK = cast(AppliedBlock, None)
"""The watch looks at the state alone."""


def test_each_admission_and_each_end_is_counted_once(tmp_path: Path) -> None:
    chain, seen = ChainBuilder.create(tmp_path / "ledger"), Counter[Standing]()
    watch = AdmissionWatch(chain.ledger, lambda outcome: seen.update([outcome]))

    def grow(*transactions: bytes, slot: int | None = None) -> None:
        chain.append(transactions, slot=slot)
        watch.on_applied(ANY_BLOCK)

    welcome, stranger, silent = (newcomer(number) for number in (1, 2, 3))
    for sponsor, home in enumerate((welcome, stranger, silent)):
        grow(chain.transaction(sponsor, request_of(chain.community, home)))
    assert not seen, "they ask"
    for verifier in range(3):
        grow(
            chain.transaction(verifier, verdict_on(welcome)),
            chain.transaction(verifier, verdict_on(stranger, Verdict.NO_SUCH_CONNECTION)),
        )
    assert seen == {Standing.CANDIDATE: 1, Standing.REFUSED: 1}
    for _ in range(5):
        grow(slot=chain.ledger.tip_slot + 10_000_000)
    assert seen == {Standing.CANDIDATE: 1, Standing.REFUSED: 1, Standing.LAPSED: 2}, "one was no candidate yet"
    chain.ledger.close()
