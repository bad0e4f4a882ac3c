"""Every version of a member's score, with what moved it, in words."""

from collections import Counter
from itertools import islice
from typing import Final

from consensus.codec import decode
from consensus.identifiers import GENESIS_HEIGHT, Address, Height, Slot
from contracts.state import Score, score_key
from contracts.state_reading import require
from ledger.ledger import Ledger
from node.names.names import Names
from node.replies.stories import ScoreHistoryReply, ScoreVersion
from node.stories.member_names import find_member, named
from node.stories.score_events import score_events
from node.stories.slices import Progress, Slices
from qscore.way_back import present_score

EVENTS_TOLD_MAX: Final = 32
"""Of one block, each with its words; a block has room for thousands of a member's faults, which are counted."""


def score_history(
    ledger: Ledger, names: Names, member: str, *, after: Height | None, versions_max: int
) -> Slices[ScoreHistoryReply]:
    """Returns the versions of a member's score above a height, oldest first.

    Args:
        ledger: of any member.
        names: how the reader calls the members.
        member: name, address or its first 8 or more digits.
        after: a height; None for all versions, genesis' first.
        versions_max: most versions returned, at least one.

    Raises:
        NotFound: no such member.
    """
    address = find_member(ledger, names, member)
    key, parameters = score_key(address), ledger.genesis.scores
    if after is not None and ledger.lacks(after):
        after = None
    found = list(islice(ledger.history(key, above=after), versions_max + 1))
    page = found[:versions_max]
    before = None if after is None else ledger.get_at(key, after)
    previous = None if before is None else decode(before, Score)
    versions = []
    for height, raw in page:
        score = decode(raw, Score)
        versions.append(_version(ledger, names, address, height, score, previous))
        previous = score
        yield Progress(len(versions), len(page))
    newest = require(ledger, key, Score)
    return ScoreHistoryReply(
        first_height=ledger.first_height,
        member=named(names, address),
        present_millionths=present_score(newest.value, newest.way_back, ledger.tip_slot, parameters),
        tip_slot=ledger.tip_slot,
        threshold_trade_millionths=parameters.threshold_trade,
        versions=versions,
        next_after=page[-1][0] if len(found) > len(page) else None,
    )


def _version(
    ledger: Ledger, names: Names, address: Address, height: Height, score: Score, previous: Score | None
) -> ScoreVersion:
    slot = Slot(0) if height == 0 else ledger.decided_block(height).header.slot
    parameters = ledger.genesis.scores
    before = 0 if previous is None else present_score(previous.value, previous.way_back, slot, parameters)
    return ScoreVersion(
        height=height,
        slot=slot,
        value_millionths=score.value,
        change_millionths=0 if previous is None else score.value - before,
        cause=score.cause.value,
        reference=score.reference.hex(),
        words=_words(ledger, names, address, height),
        staked_millionths=score.staked,
        is_suspended=score.is_suspended,
        falls=score.falls,
        returns_at_slot=None if score.way_back is None else score.way_back.until_slot,
    )


def _words(ledger: Ledger, names: Names, address: Address, height: Height) -> str:
    """Returns all that moved a score in a block, which writes one version of it."""
    if height == GENESIS_HEIGHT:
        return "every member starts with it"
    if ledger.lacks(Height(height - 1)):
        return f"what it was after block {height:,}, where this node's ledger begins"
    events = score_events(ledger, names, address, height)
    words = [event.words for event in events[:EVENTS_TOLD_MAX]]
    rest = Counter("nothing" if event.cause is None else event.cause.value for event in events[EVENTS_TOLD_MAX:])
    if rest:
        causes = ", ".join(f"{count} {cause}" for cause, count in sorted(rest.items()))
        words.append(f"and {rest.total()} more in this block: {causes}")
    return "; ".join(words)
