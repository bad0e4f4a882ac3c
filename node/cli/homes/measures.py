"""`p2pnode member suspend|reinstate|expel|approve|withdraw`: what a quorum of the members does about one of them."""

from typing import Annotated, Final

import typer

from consensus.identifiers import Address, Digest
from consensus.quorum import quorum
from contracts.member_changes import REMOVAL_MEMBERS_MIN
from contracts.proposal_records import Expulsion, SuspensionChange
from contracts.transactions import Approve, Propose, Withdraw
from node.cli.asking import ask_url
from node.cli.options import RunningConfig, YesOption, confirm
from node.cli.sending import send_as_member
from node.client import api_url
from node.errors import NodeError
from node.home.configuration import Configuration, load_configuration
from node.replies.proposals import Measure, MemberProposalModel
from node.replies.state import MemberChangesReply, MemberModel, MembersReply
from node.stories.member_names import PREFIX, require_id, require_member_text

NEXT: Final = "Next: the others look (member changes) and approve (member approve)."
SUSPEND_EXAMPLE: Final = f"Example: p2pnode member suspend node4 --config node1/meter.toml\n\n{NEXT}"
REINSTATE_EXAMPLE: Final = f"Example: p2pnode member reinstate node4 --config node1/meter.toml\n\n{NEXT}"
EXPEL_EXAMPLE: Final = f"Example: p2pnode member expel node4 --config node1/meter.toml\n\n{NEXT}"
APPROVE_EXAMPLE: Final = "Example: p2pnode member approve 3f2a9c41d07be865 --config node2/meter.toml"
WITHDRAW_EXAMPLE: Final = "Example: p2pnode member withdraw 3f2a9c41d07be865 --config node2/meter.toml"

CHANGES_PATH: Final = "/v1/members/changes"
MEMBERS_PATH: Final = "/v1/members"

WORDS: Final[dict[Measure, str]] = {
    "expel": "is to be a member no more",
    "suspend": "is to be suspended: it votes, and trades and leads no more. It keeps wallet, score and stake",
    "reinstate": "is to be suspended no more",
}

MemberArgument = Annotated[
    str,
    typer.Argument(
        metavar="METER", help="Its name, its address, or the first 8 or more digits of it.", show_default=False
    ),
]
ProposalArgument = Annotated[
    str, typer.Argument(metavar="ID", help="The proposal, by its first 8 or more digits.", show_default=False)
]


def suspend(member: MemberArgument, config: RunningConfig, yes: YesOption = False) -> None:  # noqa: FBT002
    """Propose that a member trades and leads no more, until it is reinstated. The node must run.

    A quorum of the members must approve it within a day; with it the
    member is suspended at once. Nothing is taken: what it promised is
    settled, and `p2pnode member reinstate` takes the suspension back.
    """
    _propose(config=load_configuration(config), member=member, measure="suspend", yes=yes)


def reinstate(member: MemberArgument, config: RunningConfig, yes: YesOption = False) -> None:  # noqa: FBT002
    """Propose that a suspended member is so no more, also after proven misconduct. The node must run.

    A quorum of the members must approve it within a day; with it the
    member trades and leads again at once. If it contradicts itself once
    more it is suspended again, and from a day after the first proof on
    removed.
    """
    _propose(config=load_configuration(config), member=member, measure="reinstate", yes=yes)


def expel(member: MemberArgument, config: RunningConfig, yes: YesOption = False) -> None:  # noqa: FBT002
    """Propose that a member is removed. The node must run.

    A quorum of the members must approve it within a day. Then whoever
    approved has a waiting time to hear the member, and may withdraw; after
    it the member is removed. It keeps its wallet.
    """
    _propose(config=load_configuration(config), member=member, measure="expel", yes=yes)


def _propose(*, config: Configuration, member: str, measure: Measure, yes: bool) -> None:
    members = ask_url(api_url(config), MEMBERS_PATH, MembersReply)
    found = _member(members, member)
    subject = _subject(found, measure)
    typer.echo(f"{found.name} ({found.address}) {WORDS[measure]}.")
    if measure == "expel":
        typer.echo(arithmetic_of(members))
    confirm("Propose that? Talk to its household first.", yes=yes)
    reply = send_as_member(config, Propose(subject=subject))
    typer.echo(f"Proposal {reply.digest}. The others: p2pnode member approve {reply.digest[:16]}")


def _subject(found: MemberModel, measure: Measure) -> Expulsion | SuspensionChange:
    address = Address(bytes.fromhex(found.address))
    if measure == "expel":
        return Expulsion(member=address)
    change = SuspensionChange(member=address, suspended=measure == "suspend")
    if found.is_suspended == change.suspended:
        raise NodeError(f"{found.name} is {'' if found.is_suspended else 'not '}suspended: nothing was changed")
    return change


def approve(proposal: ProposalArgument, config: RunningConfig, yes: YesOption = False) -> None:  # noqa: FBT002
    """Agree that a member is expelled, suspended or reinstated. The node must run.

    Approve also an expulsion that a quorum approved and that still waits:
    whoever withdraws then ends it only if too few are left.
    """
    configuration = load_configuration(config)
    one = _proposal(api_url(configuration), proposal)
    typer.echo(f"{one.proposer_name} proposes: {one.member_name} ({one.member}) {WORDS[one.measure]}.")
    confirm("Approve that?", yes=yes)
    action = Approve(proposer=Address(bytes.fromhex(one.proposer)), proposal=Digest(bytes.fromhex(one.proposal)))
    reply = send_as_member(configuration, action)
    typer.echo(f"Approved in block {reply.height:,}.")


def withdraw(proposal: ProposalArgument, config: RunningConfig) -> None:
    """Take this home's approval back, while the proposal is open or waits. The node must run."""
    configuration = load_configuration(config)
    one = _proposal(api_url(configuration), proposal)
    action = Withdraw(proposer=Address(bytes.fromhex(one.proposer)), proposal=Digest(bytes.fromhex(one.proposal)))
    reply = send_as_member(configuration, action)
    typer.echo(f"Withdrawn in block {reply.height:,}.")


def arithmetic_of(members: MembersReply) -> str:
    """Returns what one member less does to the quorum."""
    fewer = len(members.members) - 1
    none = " None of three may lie or be down." if fewer == REMOVAL_MEMBERS_MIN else ""
    then = f"without it {fewer}, {quorum(max(1, fewer))} must answer.{none}"
    return f"{len(members.members)} members, {members.quorum} must answer; {then}"


def _member(members: MembersReply, text: str) -> MemberModel:
    require_member_text(text)
    is_prefix = PREFIX.fullmatch(text)
    found = [one for one in members.members if one.name == text] or [
        one for one in members.members if is_prefix and one.address.startswith(text.lower())
    ]
    if len(found) != 1:
        names = ", ".join(one.name for one in members.members)
        raise NodeError(f"{text!r} names {len(found)} of the members: there are {names}")
    return found[0]


def _proposal(url: str, text: str) -> MemberProposalModel:
    require_id(text)
    proposals = ask_url(url, CHANGES_PATH, MemberChangesReply).proposals
    found = [one for one in proposals if one.proposal.startswith(text.lower())]
    if len(found) != 1:
        raise NodeError(f"{text!r} names {len(found)} of the proposals: p2pnode member changes lists them")
    return found[0]
