"""Judges an explanation: the one reason why nothing is decided, first by name, then in a sentence for people.

`VERDICTS` is the whole judgement: the first row whose condition holds. The order puts what the operator can change
before what the protocol does by itself.
"""

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Final

from consensus.clock import ClockJump
from consensus.explanation import Collecting, Explanation, Stage, Step, Support, Wait
from consensus.identifiers import Address, Digest, EraNumber, Height
from consensus.liveness import START_AGE_SLOTS
from consensus.phases import Phase
from consensus.recovery import can_ask
from consensus.silence import Silence

NAMES_MAX: Final = 8
"""Members that a sentence names; of more it says how many."""

PAGE: Final = "docs/operations.md, A ceremony, says more"

DIGEST_DIGITS: Final = 8
"""Hexadecimal digits of a block's digest in a sentence: enough to tell a height's few blocks apart."""

MS_PER_S: Final = 1_000
MS_PER_MINUTE: Final = 60 * MS_PER_S
MS_PER_HOUR: Final = 60 * MS_PER_MINUTE

NameOf = Callable[[Address], str]
"""A member's label for people."""


class Verdict(Enum):
    """Why the undecided height is not decided."""

    APPLYING = "applying"
    """It is: the host writes the block."""
    LATER_ERA = "later_era"
    """Others are in a later era of the chain, which this member's operator has not begun here."""
    SEALED = "sealed"
    """This member's operator gave up the era, and has not begun the next one here."""
    BEHIND = "behind"
    """Others have decided it; this member fetches what it lacks."""
    TOO_MANY_SILENT = "too_many_silent"
    """So many members sign nothing at this height that the rest is no quorum: no waiting helps, people must."""
    TOO_FEW_MEMBERS = "too_few_members"
    """Fewer members than a quorum can be reached and may sign."""
    SILENT = "silent"
    """This member may not sign; the others are enough without it."""
    NOTHING_TO_DO = "nothing_to_do"
    """Nothing waits for a decision."""
    BODY_MISSING = "body_missing"
    """A block has its certificate or claim here, but not its content."""
    VOTES_SPLIT = "votes_split"
    """The votes of a slot are for different blocks, and none can get a quorum any more."""
    LEADER_SILENT = "leader_silent"
    """The leader whose proposal is waited for cannot be reached."""
    WORKING = "working"
    """The slot is under way, as always."""
    VIEW_CHANGE = "view_change"
    """A slot failed; the members agree on a later one."""


def verdict_of(explanation: Explanation) -> Verdict:
    """Returns the first verdict whose condition holds."""
    return next(verdict for verdict, holds in VERDICTS if holds(explanation))


def able_members(explanation: Explanation) -> int:
    """Returns how many members can be reached and, as far as this one knows, may sign."""
    return len(set(explanation.reachable).difference(explanation.silent))


def height_of_others(explanation: Explanation) -> Height | None:
    """Returns an undecided height above this member's own that an honest member has reached, None if none is known.

    F + 1 members say so, and one of them is honest.
    """
    told = sorted((member.undecided or Height(0) for member in explanation.members), reverse=True)
    proven = told[explanation.weak_quorum - 1] if len(told) >= explanation.weak_quorum else Height(0)
    return proven if proven > explanation.height else None


def later_era(explanation: Explanation) -> EraNumber | None:
    """Returns an era above this member's own that an honest member is in, None if none is known; F + 1 say so."""
    told = sorted((member.other_era or EraNumber(0) for member in explanation.members), reverse=True)
    proven = told[explanation.weak_quorum - 1] if len(told) >= explanation.weak_quorum else EraNumber(0)
    return proven if proven > explanation.era else None


def _are_too_many_silent(explanation: Explanation) -> bool:
    return len(explanation.members) - len(explanation.silent) < explanation.quorum


def _is_behind(explanation: Explanation) -> bool:
    # members decide a height within moments of each other: that alone is not being behind
    is_old = explanation.undecided_ms > explanation.slot_duration_ms
    return is_old and height_of_others(explanation) is not None


def _split_votes(explanation: Explanation) -> tuple[int, tuple[Support, ...]] | None:
    """Returns a slot not given up yet whose votes cannot become a quorum, and the votes."""
    for facts in reversed(explanation.slots):
        if len(facts.votes) > 1 and facts.slot >= explanation.signed.promise:
            open_votes = set(facts.votes[0].missing) & set(explanation.reachable)
            if all(support.needed > len(open_votes) for support in facts.votes):
                return facts.slot, facts.votes
    return None


def _is_leader_silent(explanation: Explanation) -> bool:
    wait = explanation.waits_for
    return wait is not None and wait.step is Step.PROPOSAL and wait.missing[0] in explanation.unreachable


def _is_in_time(explanation: Explanation) -> bool:
    waited_slots = (explanation.waiting_ms or 0) / explanation.slot_duration_ms
    return explanation.signed.attempts == 0 and waited_slots <= START_AGE_SLOTS


VERDICTS: Final[tuple[tuple[Verdict, Callable[[Explanation], bool]], ...]] = (
    (Verdict.APPLYING, lambda explanation: explanation.phase is Phase.APPLYING),
    (Verdict.LATER_ERA, lambda explanation: later_era(explanation) is not None),
    (Verdict.SEALED, lambda explanation: explanation.silence is Silence.SEALED),
    (Verdict.BEHIND, _is_behind),
    (Verdict.TOO_MANY_SILENT, _are_too_many_silent),
    (Verdict.TOO_FEW_MEMBERS, lambda explanation: able_members(explanation) < explanation.quorum),
    (Verdict.SILENT, lambda explanation: explanation.silence is not None),
    (Verdict.NOTHING_TO_DO, lambda explanation: not explanation.is_pending),
    (Verdict.BODY_MISSING, lambda explanation: bool(explanation.bodies_missing)),
    (Verdict.VOTES_SPLIT, lambda explanation: _split_votes(explanation) is not None),
    (Verdict.LEADER_SILENT, _is_leader_silent),
    (Verdict.WORKING, _is_in_time),
    (Verdict.VIEW_CHANGE, lambda _: True),
)


# --- sentences -----------------------------------------------------------------------------------------------


def sentence_of(explanation: Explanation, name_of: NameOf) -> str:
    """Returns the verdict in a sentence or two, with the members' names and the quorum's arithmetic, and what the own
    clock does if it jumped.
    """
    said = _SENTENCES[verdict_of(explanation)](explanation, name_of)
    return said if explanation.clock_jump is None else f"{said} {_clock_jump(explanation, explanation.clock_jump)}"


def duration_text(duration_ms: int) -> str:
    """Returns a duration for people: tenths of seconds, then minutes, then hours."""
    if duration_ms < MS_PER_MINUTE:
        return f"{duration_ms / MS_PER_S:.1f} s"
    if duration_ms < MS_PER_HOUR:
        return f"{duration_ms // MS_PER_MINUTE} min {duration_ms % MS_PER_MINUTE // MS_PER_S} s"
    return f"{duration_ms // MS_PER_HOUR} h {duration_ms % MS_PER_HOUR // MS_PER_MINUTE} min"


def step_text(wait: Wait, quorum: int, name_of: NameOf) -> str:
    """Returns the step at hand: what is there, of how many, and from whom the rest may come."""
    there, missing = f"{len(wait.members)} of the {quorum}", _names(wait.missing, name_of)
    match wait.step:
        case Step.PROPOSAL:
            return f"slot {wait.slot} waits for the proposal of its leader, {missing}"
        case Step.EXECUTION:
            return f"this member executes block {_short(wait.block)} before it votes"
        case Step.CERTIFICATE:
            collectors = " or ".join(name_of(address) for address in wait.missing)
            return (
                f"slot {wait.slot} waits for the {quorum} signatures that block {_short(wait.block)} needs, which "
                f"{collectors} collects for this member"
            )
        case Step.VOTES:
            text = f"slot {wait.slot} has {there} votes that block {_short(wait.block)} needs"
        case Step.COMMITS:
            text = f"slot {wait.slot} has {there} COMMITs that block {_short(wait.block)} needs"
        case Step.VIEW_CHANGES:
            text = f"slot {wait.slot} has {there} VIEW-CHANGEs that it needs"
    return f"{text}, missing: {missing}" if wait.missing else text


def collecting_text(collecting: Collecting, own: Address, name_of: NameOf) -> str:
    """Returns who collects the votes of a slot, by whom this member hears of them, and how far it had to go."""
    drawn = f"{len(collecting.cluster)} members are drawn for slot {collecting.slot}: "
    by = " or ".join(name_of(address) for address in collecting.handed_by)
    if own in collecting.cluster:
        part = "; this one collects the others' votes"
    else:
        part = f"; {by} hands certificates to this one" if by else ""
    return f"{drawn}{_names(collecting.cluster, name_of)}{part}. {_STAGES[collecting.stage]}"


_STAGES: Final[dict[Stage, str]] = {
    Stage.CLUSTER: "Its own votes go to them.",
    Stage.ASKING: "No certificate came in a third of a slot: some of them are asked.",
    Stage.ALL: "Its own votes go to all members.",
}


def _applying(explanation: Explanation, _: NameOf) -> str:
    return f"Height {explanation.height} is decided; this member is writing its block."


def _later_era(explanation: Explanation, _: NameOf) -> str:
    return (
        f"Others are in era {later_era(explanation)} of the chain, this member is in era {explanation.era}. To go on "
        "with them, get the plan of that era and the agreements to it from their operators, stop this node, run "
        f"`p2pnode recover apply PLAN AGREEMENTS --config meter.toml`, and start it; {PAGE}."
    )


def _sealed(explanation: Explanation, _: NameOf) -> str:
    standing, joined = explanation.signed.standing, explanation.signed.standing.joined
    text = f"This home gave up all eras below {standing.sealed_below} and signs nothing of them any more."
    if joined is not None and joined.era == standing.sealed_below:
        return (
            f"{text} It agreed to a plan of era {joined.era}: to go on, stop it and run `p2pnode recover apply` with "
            "that plan and the agreements of all. If too few agree, run `p2pnode recover export "
            f"--era {joined.era + 1}` at every home. There is no way back; {PAGE}."
        )
    return (
        f"{text} To go on, stop it and run `p2pnode recover join` with the plan that its statement is part of, then "
        f"`p2pnode recover apply`. To go back, run `p2pnode recover release --config meter.toml`; {PAGE}."
    )


def _too_many_silent(explanation: Explanation, name_of: NameOf) -> str:
    silent, members = explanation.silent, len(explanation.members)
    away = [address for address in explanation.unreachable if address not in silent]
    start = (
        f" First start {_names(away, name_of)}: a block of this height that one of them has ends it." if away else ""
    )
    ceremony = (
        "hold a ceremony: stop all nodes, and at each home run `p2pnode recover export --config meter.toml --era "
        f"{explanation.era + 1} --output NAME.statement`"
    )
    alone = "run `p2pnode recover alone --config meter.toml` at the home that lost it"
    return (
        f"{_names(silent, name_of)} {_signs(silent)} nothing at height {explanation.height}, as what was signed "
        f"there is lost or given up. {members - len(silent)} of {members} members are left, and a decision needs "
        f"{explanation.quorum}: no waiting ends this.{start if away else ''} "
        f"{'Else' if away else 'To go on,'} "
        f"{ceremony if can_ask(members) else alone}; {PAGE}."
    )


def _behind(explanation: Explanation, _: NameOf) -> str:
    others = height_of_others(explanation)
    assert others is not None, "the verdict says so"
    return (
        f"This member is behind: others are at height {others}, this one is at {explanation.height}; "
        "it fetches the blocks that it lacks."
    )


def _too_few_members(explanation: Explanation, name_of: NameOf) -> str:
    own = " (this one is reachable but may not sign)" if explanation.silence is not None else ""
    missing = _listed([_with_contact(explanation, address, name_of) for address in explanation.unreachable])
    silent = [one for one in explanation.reachable if one in explanation.silent and one != explanation.own]
    others = f"{_names(silent, name_of)} {_signs(silent)} nothing at this height. " if silent else ""
    return (
        f"Only {able_members(explanation)} of {len(explanation.members)} members can take part{own} "
        f"and a decision needs {explanation.quorum}: {missing} cannot be reached. {others}{_waiting(explanation)}"
    )


def _silent(explanation: Explanation, _: NameOf) -> str:
    reasons = {
        Silence.NOT_A_MEMBER: f"it is no member at height {explanation.height}",
        Silence.SEALED: "its operator gave up this era of the chain",
        Silence.OLDER_ERA: "the height belongs to an era of the chain before the one that this member takes part in",
        Silence.STATE_LOST: f"what it signed up to height {explanation.silent_through} is not at hand",
        Silence.STATE_ASKED: "what it signed is not at hand, and it asks the others up to which height that matters",
    }
    assert explanation.silence is not None, "the verdict says so"
    return (
        f"This member signs nothing at height {explanation.height}, because {reasons[explanation.silence]}; "
        f"the others decide without it. {_waiting(explanation)}"
    )


def _nothing_to_do(explanation: Explanation, _: NameOf) -> str:
    return f"Nothing waits for a decision at height {explanation.height}."


def _body_missing(explanation: Explanation, name_of: NameOf) -> str:
    body = explanation.bodies_missing[0]
    holders = _names(body.holders, name_of) or "its holders"
    return (
        f"The content of block {_short(body.block)} is missing here; it was asked of {holders} "
        f"{duration_text(body.asked_age_ms)} ago. {_waiting(explanation)}"
    )


def _votes_split(explanation: Explanation, name_of: NameOf) -> str:
    split = _split_votes(explanation)
    assert split is not None, "the verdict says so"
    slot, votes = split
    blocks = "; ".join(f"{_short(support.block)} by {_names(support.members, name_of)}" for support in votes)
    return (
        f"The votes of slot {slot} are split, none can reach the {explanation.quorum} that a block needs: {blocks}. "
        f"{_next_attempt(explanation)}"
    )


def _leader_silent(explanation: Explanation, name_of: NameOf) -> str:
    wait = explanation.waits_for
    assert wait is not None, "the verdict says so"
    leader = _with_contact(explanation, wait.missing[0], name_of)
    return f"The leader of slot {wait.slot}, {leader}, cannot be reached. {_next_attempt(explanation)}"


def _working(explanation: Explanation, name_of: NameOf) -> str:
    return f"Height {explanation.height} is being decided: {_step(explanation, name_of)}."


def _view_change(explanation: Explanation, name_of: NameOf) -> str:
    return (
        f"The members agree on another slot for height {explanation.height} (view change, attempt "
        f"{explanation.signed.attempts}): {_step(explanation, name_of)}. {_next_attempt(explanation)}"
    )


_SENTENCES: Final[dict[Verdict, Callable[[Explanation, NameOf], str]]] = {
    Verdict.APPLYING: _applying,
    Verdict.LATER_ERA: _later_era,
    Verdict.SEALED: _sealed,
    Verdict.BEHIND: _behind,
    Verdict.TOO_MANY_SILENT: _too_many_silent,
    Verdict.TOO_FEW_MEMBERS: _too_few_members,
    Verdict.SILENT: _silent,
    Verdict.NOTHING_TO_DO: _nothing_to_do,
    Verdict.BODY_MISSING: _body_missing,
    Verdict.VOTES_SPLIT: _votes_split,
    Verdict.LEADER_SILENT: _leader_silent,
    Verdict.WORKING: _working,
    Verdict.VIEW_CHANGE: _view_change,
}


def _step(explanation: Explanation, name_of: NameOf) -> str:
    assert explanation.waits_for is not None, "a pending height waits for a step"
    return step_text(explanation.waits_for, explanation.quorum, name_of)


def _next_attempt(explanation: Explanation) -> str:
    attempt = explanation.next_attempt
    if attempt is not None:
        return f"This member asks for slot {attempt.slot} in {duration_text(attempt.due_in_ms)} unless it is decided."
    return (
        f"This member asks for a later slot once {explanation.quorum} members have reached slot "
        f"{explanation.signed.promise}."
    )


def _waiting(explanation: Explanation) -> str:
    if explanation.waiting_ms is None:
        return "Nothing waits for a decision at the moment."
    return f"Height {explanation.height} has waited for {duration_text(explanation.waiting_ms)}."


def _clock_jump(explanation: Explanation, jump: ClockJump) -> str:
    way = "ahead" if jump.by_ms > 0 else "back"
    others = explanation.weak_quorum
    is_answered = len(explanation.members) > others
    sooner = f", or as soon as {others} other member{'s are' if others > 1 else ' is'} there" if is_answered else ""
    return (
        f"This node's clock jumped {way} by {duration_text(abs(jump.by_ms))}; it is followed in "
        f"{duration_text(jump.followed_in_ms)} if it stays{sooner}."
    )


def _with_contact(explanation: Explanation, address: Address, name_of: NameOf) -> str:
    member = explanation.member(address)
    heard = "never heard" if member.heard_age_ms is None else f"last heard {duration_text(member.heard_age_ms)} ago"
    return f"{name_of(address)} ({heard if member.is_connected else f'not connected, {heard}'})"


def _names(addresses: Sequence[Address], name_of: NameOf) -> str:
    return _listed([name_of(address) for address in addresses])


def _signs(members: Sequence[Address]) -> str:
    return "signs" if len(members) == 1 else "sign"


def _listed(texts: Sequence[str]) -> str:
    """Returns `a, b and c`, cut to `NAMES_MAX` of them."""
    if len(texts) > NAMES_MAX:
        return f"{', '.join(texts[:NAMES_MAX])} and {len(texts) - NAMES_MAX} more"
    return " and ".join(filter(None, (", ".join(texts[:-1]), *texts[-1:])))


def _short(block: Digest | None) -> str:
    return "none" if block is None else block.hex()[:DIGEST_DIGITS]
