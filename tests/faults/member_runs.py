"""Rows for leaders and validators that lie, alone, up to the bound of F together, and one more than it."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from consensus.identifiers import Address, Height
from consensus.quorum import fault_bound
from contracts.receipts import Status
from contracts.transactions import ReportMisconduct, SubmitTrade
from tests.faults.books import Books, fork_height, is_sound, opened
from tests.faults.cases import BEYOND, COLLECTORS, MEMBERS, MemberCase
from tests.faults.streets import Plan, RunningStreet, read_diary, running
from tests.faults.table import FELL, UNCHANGED_OR_RISEN, Row

HOURS: Final = 60
WINDOW_HOURS: Final = 2
"""So that there is something to decide, and to lie about, for as long as it takes a liar to lead."""

FIRST_LIAR: Final = 2
BEYOND_DEADLINE_S: Final = 8.0
"""With F + 1 liars nothing needs to happen."""

TRADES_AFTER: Final = 2
"""Completed after all lies."""

MEMBERS_DRAWN_OF: Final = 8
DRAWN: Final = 7
"""The smallest cluster that genesis takes."""

STANDSTILL_S: Final = 3.0
"""Thirty slots."""

TOGETHER: Final = frozenset({"colluding.forks"})
"""Told by F members; each of the others by one."""

REFUSED: Final = "invalid block"
"""In the log of a member that gives a proposal no vote."""
REASON: Final = re.compile(r"'(\w+)'>")
Tell = Callable[[str], None]


def member_rows(n: int, directory: Path, *, only: str, tell: Tell) -> tuple[list[Row], list[Row]]:
    """Runs every behaviour of leaders and validators whose name contains `only`, within the bound and beyond it."""
    within = [member_row(name, n, directory, tell=tell) for name in MEMBERS if only in name]
    return within, [beyond_row(name, n, directory, tell=tell) for name in BEYOND if only in name]


def collector_rows(directory: Path, *, only: str, tell: Tell) -> list[Row]:
    """Runs every behaviour of collectors whose name contains `only`: `DRAWN` of `MEMBERS_DRAWN_OF`."""
    return [member_row(name, MEMBERS_DRAWN_OF, directory, tell=tell) for name in COLLECTORS if only in name]


def plan_of(name: str, n: int, liars: int) -> Plan:
    numbers = range(FIRST_LIAR, FIRST_LIAR + liars)
    return Plan(
        n=n,
        liars=dict.fromkeys(numbers, name),
        hours=HOURS,
        window_hours=WINDOW_HOURS,
        cluster_size=DRAWN if name in COLLECTORS else None,
    )


def member_row(name: str, n: int, directory: Path, *, tell: Tell) -> Row:
    """Runs one behaviour within the bound and judges it."""
    case = {**MEMBERS, **COLLECTORS}[name]
    liars = fault_bound(n) if name in {*TOGETHER, *COLLECTORS} else 1
    with running(directory / name.replace(".", "-"), plan_of(name, n, liars)) as run:
        try:
            run.wait_for_lies(RunningStreet.knows_offence if case.offence else None)
            run.see_that_it_goes_on(trades=TRADES_AFTER)
        except AssertionError as error:
            tell(f"{name} at n = {n}: {error}")
        run.stop()
        row = _Judged(name, run).row(case)
    tell(f"{name} at n = {n}: {'held' if row.held else f'DID NOT HOLD: {row.note}'}")
    return row


def beyond_row(name: str, n: int, directory: Path, *, tell: Tell) -> Row:
    """Runs one behaviour with F + 1 liars and says what became of the honest members."""
    liars = fault_bound(n) + 1
    with running(directory / f"beyond-{name.replace('.', '-')}", plan_of(name, n, liars)) as run:
        started_s = time.monotonic()
        try:
            run.wait_for_lies(lambda _: True, deadline_s=BEYOND_DEADLINE_S)
        except AssertionError as error:
            tell(f"{name} with {liars} liars of {n}: {error}")
        run.went_on = _goes_on(run)
        heights = [status["height"] for status in run.statuses()]
        run.stop()
        row = _Judged(name, run).beyond_row(heights)
    tell(f"{name} with {liars} liars of {n}, {time.monotonic() - started_s:.0f} s: {row.note}")
    return row


def _goes_on(run: RunningStreet) -> bool:
    try:
        run.see_that_it_goes_on(deadline_s=STANDSTILL_S)
    except AssertionError:
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """What the honest members' logs say of proposals."""

    names: tuple[str, ...]
    """Members that refused one."""
    reasons: tuple[str, ...]


def refusals_in(run: RunningStreet) -> Refusals:
    """Returns which honest members refused proposals, and why."""
    names, reasons = [], set()
    for number in run.plan.honest:
        lines = run.logged(number, REFUSED)
        if lines:
            names.append(run.street.node(number).name)
        reasons |= {found[1] for line in lines if (found := REASON.search(line["reason"]))}
    return Refusals(names=tuple(names), reasons=tuple(sorted(reasons)))


class _Judged:
    """One stopped run."""

    def __init__(self, name: str, run: RunningStreet) -> None:
        self.name = name
        self.run = run
        self.liars = [run.street.node(number).address for number in run.plan.liars]
        self.homes = [run.street.node(number).home for number in run.plan.honest]
        self.events = [event for number in run.plan.liars for event in read_diary(run.street.node(number).home)]

    def row(self, case: MemberCase) -> Row:
        sound = all(map(is_sound, self.homes))
        with opened(self.homes) as books:
            return self._row(case, books, sound=sound)

    def _row(self, case: MemberCase, books: Sequence[Books], *, sound: bool) -> Row:
        own = books[0]
        honest = [address for address in own.members if address not in self.liars]
        offences = sorted({offence for liar in self.liars for offence in own.offences_of(liar)})
        refusals = refusals_in(self.run)
        expected_reasons = () if case.reason is None else (case.reason.value,)
        checks = {
            "a lie was told": bool(self._proposals()),
            "the ledgers verify": sound,
            "one chain": fork_height(books) is None,
            "proposals refused for the expected reason": refusals.reasons == expected_reasons,
            "refused by enough honest members": case.reason is None
            or len(refusals.names) > fault_bound(len(own.members)),
            "nothing invalid decided": not self._invalid_decided(own, case),
            "balances": all(one.wallets_follow_contracts() for one in books),
            "settled once": self._settled_once(own),
            "evidence": case.offence is None or case.offence in offences,
            "suspended": case.offence is None or any(own.scores_of(liar)[-1].is_suspended for liar in self.liars),
            "leads nothing once suspended": not any(self._led_after(own, liar) for liar in self.liars),
            "honest scores": not any(map(own.ever_fell, honest)),
            "went on": self.run.went_on,
        }
        failed = [what for what, holds in checks.items() if not holds]
        before, after = self._scores(own)
        return Row(
            behaviour=self.name,
            n=self.run.plan.n,
            liars=len(self.liars),
            detected_by=self._detected_by(case, refusals, own),
            declined_at=case.stage,
            reason=self._reason(case, refusals),
            balances_unchanged=checks["balances"],
            honest_retry_settled_once=checks["settled once"],
            attacker_score_before=before,
            attacker_score_after=after,
            honest_scores=UNCHANGED_OR_RISEN if checks["honest scores"] else FELL,
            chain_went_on=self.run.went_on and checks["one chain"],
            evidence=self._evidence(offences, own),
            note="not: " + ", ".join(failed) if failed else "",
            held=not failed,
        )

    def _proposals(self) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == "proposal"]

    def _accusers(self) -> list[str]:
        """Returns the honest members that noticed two statements of a liar that contradict each other."""
        return [
            self.run.street.node(number).name
            for number in self.run.plan.honest
            if self.run.logged(number, "a member contradicted itself")
        ]

    def _detected_by(self, case: MemberCase, refusals: Refusals, books: Books) -> str:
        if case.offence is not None:
            return f"{len(self._accusers())} honest members, by two signatures"
        if case.reason is not None:
            return f"{len(refusals.names)} honest members, executing the proposal"
        if case.stage == "cluster":
            return "who waits for a certificate: it asks others, then tells all"
        if case.stage == "next leader":
            return f"the next leader, with the oldest first ({len(self._left_out_leaders(books))} others)"
        return "nobody needs to: no quorum without honest members"

    def _left_out_leaders(self, books: Books) -> set[Address]:
        """Returns who led the blocks with what was left out."""
        found = [one for one in books.about(sorted(self._trades())) if one.receipt.status is Status.EXECUTED]
        return {books.ledger.decided_block(one.height).header.leader for one in found} - set(self.liars)

    def _reason(self, case: MemberCase, refusals: Refusals) -> str:
        if case.reason is not None:
            return ", ".join(refusals.reasons)
        return (
            case.offence
            or {"next leader": "left out", "quorum": "too few votes", "cluster": "no certificate"}[case.stage]
        )

    def _invalid_decided(self, books: Books, case: MemberCase) -> bool:
        """Says whether a block of a liar that honest members refused was decided all the same."""
        if case.reason is None:
            return False
        steps = {(event["height"], event["slot"]) for event in self._proposals()}
        headers = [books.ledger.decided_block(Height(one)).header for one in range(1, books.ledger.height + 1)]
        return any((header.height, header.slot) in steps and header.leader in self.liars for header in headers)

    def _led_after(self, books: Books, liar: Address) -> bool:
        """Says whether a liar led a block above the one that suspended it."""
        proofs = [
            one.height
            for one in books.decided
            if isinstance(one.action, ReportMisconduct)
            and one.action.evidence.offender == liar
            and one.receipt.status is Status.EXECUTED
        ]
        above = range(min(proofs, default=books.ledger.height) + 1, books.ledger.height + 1)
        return any(books.ledger.decided_block(Height(height)).header.leader == liar for height in above)

    def _trades(self) -> set[str]:
        return {trade for event in self._proposals() for trade in event["trades"]}

    def _settled_once(self, books: Books) -> bool:
        """Says whether each contract that a liar bent or left out executed, and no contract of the run twice."""
        executed = Counter(
            one.receipt.reference.hex()
            for one in books.decided
            if isinstance(one.action, SubmitTrade) and one.receipt.status is Status.EXECUTED and one.receipt.reference
        )
        return self._trades() <= executed.keys() and set(executed.values()) == {1}

    def _scores(self, books: Books) -> tuple[int, int]:
        """Returns a liar's score around the proof of its offence, else before its lies and after the last of them."""
        liar = self.liars[0]
        for one in books.decided:
            action = one.action
            is_proof = isinstance(action, ReportMisconduct) and action.evidence.offender == liar
            if is_proof and one.receipt.status is Status.EXECUTED:
                return books.score_around(one, liar)
        heights = [event["height"] for event in self._proposals()] or [1]
        return books.score_at(liar, min(heights) - 1), books.score_at(liar, max(heights))

    def _evidence(self, offences: Sequence[str], books: Books) -> str:
        if not offences:
            return "none"
        suspended = sum(books.scores_of(liar)[-1].is_suspended for liar in self.liars)
        return f"{', '.join(offences)} ({suspended} suspended)"

    # --- beyond the bound --------------------------------------------------------------------------------------

    def beyond_row(self, heights: Sequence[int]) -> Row:
        """Says what broke; it holds if no honest member holds an invalid balance."""
        sound = [is_sound(home) for home in self.homes]
        halted = [home.directory.name for home in self.homes if home.halted.exists()]
        with opened(self.homes) as books:
            fork, before_after = fork_height(books), self._scores(books[0])
            balances = all(one.wallets_follow_contracts() for one in books)
            honest = [address for address in books[0].members if address not in self.liars]
            scores = not any(one.ever_fell(address) for one in books for address in honest)
            offences = sorted({offence for liar in self.liars for offence in books[0].offences_of(liar)})
            refusals, evidence = refusals_in(self.run), self._evidence(offences, books[0])
        went_on = self.run.went_on and fork is None
        return Row(
            behaviour=self.name,
            n=self.run.plan.n,
            liars=len(self.liars),
            detected_by=f"{len(refusals.names)} honest members refused proposals" if refusals.names else "nobody",
            declined_at="vote" if refusals.names else "none",
            reason=", ".join(refusals.reasons) or "none",
            balances_unchanged=all(sound) and balances,
            honest_retry_settled_once=fork is None and went_on,
            attacker_score_before=before_after[0],
            attacker_score_after=before_after[1],
            honest_scores=UNCHANGED_OR_RISEN if scores else FELL,
            chain_went_on=went_on,
            evidence=evidence,
            note=_what_broke(fork, halted, heights, went_on=went_on),
            held=all(sound) and balances and scores,
        )


def _what_broke(fork: int | None, halted: Sequence[str], heights: Sequence[int], *, went_on: bool) -> str:
    broken = []
    if fork is not None:
        broken.append(f"agreement: two blocks at height {fork}")
    if halted:
        broken.append(f"{len(halted)} honest members halted on the contradiction")
    if not went_on and fork is None:
        broken.append(f"progress: no block for {STANDSTILL_S:.0f} s at height {max(heights)}")
    kept = "every honest ledger verifies, all balances are those of its own chain"
    return f"broken: {'; '.join(broken) or 'nothing'}. Not broken: {kept}"
