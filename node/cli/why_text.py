"""What `p2pnode why` shows: the verdict first, then the facts it follows from."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from consensus.verdict import duration_text
from node.replies.why import ClaimModel, WhyMember, WhyReply, WhySupport

BLOCK_DIGITS: Final = 8
"""Hexadecimal digits of a block's digest: enough to tell a height's few blocks apart."""

NOTHING: Final = "-"


def show_why(console: Console, reply: WhyReply) -> None:
    """Prints one node's answer."""
    names = {member.address: member.name for member in reply.members}
    console.print(f"{reply.name}: {reply.verdict.value}", style="bold")
    console.print(reply.sentence, markup=False, soft_wrap=True)
    for notice in reply.notices:
        console.print(notice, style="red", markup=False, soft_wrap=True)
    console.print(_facts_table(reply, names))
    console.print(_members_table(reply))
    if reply.slots:
        console.print(_slots_table(reply, names))


def show_why_of_all(console: Console, rows: Sequence[tuple[str, int | None, WhyReply | None]]) -> None:
    """Prints a testnet's answers, one row per node: its name, its process and its reply."""
    table = Table(title="Why is nothing decided?", title_justify="left", show_lines=True)
    for heading in ("node", "process", "height", "verdict", "why"):
        table.add_column(heading)
    for name, process, reply in rows:
        running = "stopped" if process is None else str(process)
        if reply is None:
            table.add_row(name, running, "", "does not answer", "")
        else:
            sentences = "\n".join([reply.sentence, *reply.notices])
            table.add_row(name, running, f"{reply.height:,}", reply.verdict.value, sentences)
    console.print(table)


def _facts_table(reply: WhyReply, names: Mapping[str, str]) -> Table:
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column()
    rows = [
        ("quorum", _quorum(reply)),
        ("height", f"{reply.height:,}, undecided here for {duration_text(reply.undecided_ms)}"),
        ("waiting", _waiting(reply)),
        ("slot", _slot(reply, names)),
        ("phase", _phase(reply)),
        ("next step", NOTHING if reply.waits_for is None else reply.waits_for.sentence),
        ("next attempt", _next_attempt(reply)),
    ]
    if reply.collecting is not None:
        rows.append(("collecting", reply.collecting.sentence))
    if reply.silence is not None:
        rows.append(("silent", f"signs nothing at this height: {reply.silence.value}"))
    rows += [
        ("body missing", f"{body.block[:BLOCK_DIGITS]}, asked {duration_text(body.asked_age_ms)} ago")
        for body in reply.bodies_missing
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _quorum(reply: WhyReply) -> str:
    return (
        f"N = {reply.members_total} members, F = {reply.fault_bound} may fail, Q = {reply.quorum} decide; "
        f"{reply.members_reachable} can be reached"
    )


def _waiting(reply: WhyReply) -> str:
    if reply.waiting_ms is None:
        return "nothing"
    oldest = (
        "" if reply.oldest_request_ms is None else f", oldest request {duration_text(reply.oldest_request_ms)} old"
    )
    return f"for {duration_text(reply.waiting_ms)}{oldest}"


def _slot(reply: WhyReply, names: Mapping[str, str]) -> str:
    held_back = f" (held back by the members' clocks; own clock: {reply.clock_slot:,})"
    text = f"{reply.present_slot:,}{held_back if reply.clock_slot > reply.present_slot else ''}"
    is_unused = any(member.address == reply.leader and not member.may_lead for member in reply.members)
    leader = names[reply.leader]
    led = f"passes unused, {leader} is suspended" if is_unused else f"led by {leader}"
    if reply.attempt_leader != reply.leader:
        led += f" (after a view change: {names[reply.attempt_leader]})"
    return f"{text}, {led}, {reply.slot_duration_ms} ms long"


def _phase(reply: WhyReply) -> str:
    signed = reply.signed
    parts = [f"voted for {_claim(signed.voted)}"] if signed.voted is not None else []
    parts += [f"committed to {_claim(signed.prepared)}"] if signed.prepared is not None else []
    if signed.attempts > 0:
        parts.append(f"asked for slot {signed.promise:,} (attempt {signed.attempts})")
    return ": ".join(filter(None, (reply.phase.value, ", ".join(parts))))


def _next_attempt(reply: WhyReply) -> str:
    attempt = reply.next_attempt
    if attempt is not None:
        return f"slot {attempt.slot:,} in {duration_text(attempt.due_in_ms)}"
    if reply.signed.attempts > 0:
        return f"once {reply.quorum} members have reached slot {reply.signed.promise:,}"
    return NOTHING


def _members_table(reply: WhyReply) -> Table:
    table = Table(title="Members, as this node sees them", title_justify="left")
    for heading in ("member", "link", "last heard", "height", "clock's slot", "vote", "COMMIT", "VIEW-CHANGE"):
        table.add_column(heading)
    for member in reply.members:
        table.add_row(
            member.name,
            _link(member) + ("" if member.may_lead else "; suspended, leads nothing"),
            _heard(member),
            _number(member.undecided_height),
            _number(member.clock_slot),
            _claim(member.vote),
            _claim(member.commit),
            _number(member.view_change),
            style=None if member.is_reachable else "red",
        )
    return table


def _link(member: WhyMember) -> str:
    if member.is_own:
        return "this node"
    if not member.is_connected:
        return "not connected"
    if not member.is_reachable:
        return "up, but silent"
    return "up, signs nothing" if member.is_silent else "up"


def _heard(member: WhyMember) -> str:
    if member.is_own:
        return NOTHING
    return "never" if member.heard_age_ms is None else f"{duration_text(member.heard_age_ms)} ago"


def _slots_table(reply: WhyReply, names: Mapping[str, str]) -> Table:
    table = Table(title="Slots of this height: who signed what", title_justify="left")
    for heading in ("slot", "leader", "proposed", "votes", "COMMITs", "VIEW-CHANGEs"):
        table.add_column(heading)
    for slot in reply.slots:
        table.add_row(
            f"{slot.slot:,}",
            names[slot.leader],
            NOTHING if slot.proposed is None else slot.proposed[:BLOCK_DIGITS],
            "\n".join(_support(support, names) for support in slot.votes) or NOTHING,
            "\n".join(_support(support, names) for support in slot.commits) or NOTHING,
            _support(slot.view_changes, names) if slot.view_changes.members else NOTHING,
        )
    return table


def _support(support: WhySupport, names: Mapping[str, str]) -> str:
    block = "" if support.block is None else f"{support.block[:BLOCK_DIGITS]}: "
    lacks = f"{support.needed} more needed" if support.needed > 0 else "a quorum"
    return f"{block}{', '.join(names[member] for member in support.members)} ({lacks})"


def _claim(claim: ClaimModel | None) -> str:
    return NOTHING if claim is None else f"{claim.block[:BLOCK_DIGITS]} at slot {claim.slot:,}"


def _number(number: int | None) -> str:
    return NOTHING if number is None else f"{number:,}"
