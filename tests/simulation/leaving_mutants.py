"""Deliberate breaks of how members leave: what waits, when it is in force, who is told."""

from typing import Final

from consensus import heights, safety
from consensus.intake import Intake
from consensus.member import Member
from contracts import eras, execution, forwards, member_changes, readings, stakes, trades
from contracts.receipts import Reason
from ledger.eras import BegunEras
from ledger.ledger import Ledger
from ledger.ledger_reading import LedgerReader
from tests.simulation import test_leaving
from tests.simulation.directed import directed
from tests.simulation.mutant import Mutant, edited
from tests.support import contracts
from tests.support.contracts import signed_forward, signed_reading
from tests.unit.contracts import test_member_changes
from tests.unit.ledger import test_drawn_clusters, test_membership_history

C = test_member_changes
D = test_drawn_clusters
H = test_membership_history
L = test_leaving

calm = directed(L.test_members_leave_a_calm_network_and_it_goes_on, members=5)
in_force = directed(L.test_leaving_comes_into_force_though_nobody_asks_for_anything_else)
at_a_base = directed(C.test_a_change_that_was_not_in_force_at_the_base_waits_again, carried=False)


def takes_no_part(action: C.Action, reason: Reason) -> object:
    return directed(C.test_who_left_takes_no_part_but_keeps_its_wallet, action=action, reason=reason)


def hindered(name: str, condition: str, *killers: object) -> Mutant:
    """A hindrance that hinders nothing."""
    return Mutant(
        name=name,
        rule="a member leaves",
        breaks=(edited(member_changes, "prospect", (f"({condition}, Hindrance.", "(False, Hindrance.")),),
        killers=killers,  # type: ignore[arg-type]
    )


LEAVING_MUTANTS: Final = (
    hindered(
        "a change while one is pending",
        "known.at(Height(height + 1)) != known.at(height)",
        directed(C.test_every_set_decides_a_block_before_the_next_change_is_fixed),
    ),
    hindered(
        "who has promised may leave",
        "settles and pending > 0",
        directed(C.test_it_waits_until_every_forward_trade_is_final),
    ),
    hindered("who is in debt may leave", "is_leave and owed > 0", directed(C.test_it_waits_until_its_debt_is_paid)),
    hindered(
        "any number of members is enough",
        "(is_leave or is_removal) and len(after) < members_min",
        directed(C.test_saying_it_again_is_declined_and_it_can_be_taken_back),
    ),
    hindered(
        "those who stay need not be there",
        "not is_rotation and seen < quorum.quorum(max(1, len(after)))",
        directed(C.test_those_who_stay_must_be_there),
    ),
    Mutant(
        name="two changes in a block",
        rule="a member leaves",
        breaks=(
            edited(
                execution,
                "carry_out_change",
                (
                    "list_with(known, change, first)",
                    "list_with(list_with(known, change, first), "
                    "run.overlay.require(MEMBER_QUEUE_KEY, MemberQueue).waiting[-1], first)",
                ),
            ),
        ),
        killers=(directed(C.test_every_set_decides_a_block_before_the_next_change_is_fixed),),
    ),
    Mutant(
        name="a certificate counts under the members of today",
        rule="a member leaves",
        breaks=(
            edited(
                LedgerReader,
                "membership_at",
                ("membership_at(height, self)", "membership_at(self.height + 1, self)"),
            ),
        ),
        killers=(directed(H.test_the_state_remembers_the_set_of_every_height),),
    ),
    Mutant(
        name="a quorum of the members of the next height decides",
        rule="a member leaves",
        breaks=(
            edited(
                safety,
                "_commits_of_quorum",
                ("state.commits, state.membership.quorum", "state.commits, state.memberships.following.quorum"),
            ),
        ),
        killers=(calm,),
    ),
    Mutant(
        name="a cluster is drawn from the newest list of the members",
        rule="a member leaves",
        breaks=(
            edited(
                BegunEras,
                "memberships_after",
                ("sampling_above(height, sets[0].members", "sampling_above(height, sets[1].members"),
            ),
        ),
        killers=(directed(D.test_who_leaves_is_drawn_up_to_its_last_height),),
    ),
    Mutant(
        name="a change is in force one height later",
        rule="a member leaves",
        breaks=(edited(execution, "carry_out_change", ("height + FIXED_AHEAD", "height + FIXED_AHEAD - 1")),),
        killers=(directed(C.test_who_leaves_is_a_member_for_two_heights_more),),
    ),
    Mutant(
        name="a change is in force three heights later",
        rule="a member leaves",
        breaks=(edited(execution, "carry_out_change", ("height + FIXED_AHEAD", "height + FIXED_AHEAD + 1")),),
        killers=(directed(C.test_who_leaves_is_a_member_for_two_heights_more),),
    ),
    Mutant(
        name="only the first one that waits is looked at",
        rule="a member leaves",
        breaks=(edited(member_changes, "next_change", ("for change in waiting)", "for change in waiting[:1])")),),
        killers=(directed(C.test_one_that_cannot_go_lets_the_next_one_go),),
    ),
    Mutant(
        name="nobody is seen by its COMMITs",
        rule="a member leaves",
        breaks=(edited(contracts, "execute_block", ("note_seen(run, voter)", "pass")),),
        killers=(directed(C.test_a_member_is_seen_by_its_commits_as_well),),
    ),
    Mutant(
        name="nobody is seen by its transactions",
        rule="a member leaves",
        breaks=(edited(execution, "_execute", ("note_seen(run, sender)", "pass")),),
        killers=(directed(C.test_those_who_stay_must_be_there),),
    ),
    Mutant(
        name="promises are not counted",
        rule="a member leaves",
        breaks=(edited(trades, "execute_forward", ("_count_pending(run, party, 1)", "pass")),),
        killers=(directed(C.test_it_waits_until_every_forward_trade_is_final),),
    ),
    Mutant(
        name="who left has a stake",
        rule="a member leaves",
        breaks=((stakes, "is_member", lambda *_: True),),
        killers=(takes_no_part(C.SetStake(staked=0), Reason.STAKE_NOT_MEMBER),),  # type: ignore[arg-type]
    ),
    Mutant(
        name="who left has a meter",
        rule="a member leaves",
        breaks=((readings, "is_member", lambda *_: True),),
        killers=(takes_no_part(signed_reading(C.HOMES, 2, 500), Reason.READING_FOREIGN_METER),),  # type: ignore[arg-type]
    ),
    Mutant(
        name="who left trades",
        rule="a member leaves",
        breaks=((trades, "is_member", lambda *_: True),),
        killers=(takes_no_part(signed_forward(C.HOMES, 3, 2, 100), Reason.TRADE_UNKNOWN_PARTY),),  # type: ignore[arg-type]
    ),
    Mutant(
        name="who leaves promises more",
        rule="a member leaves",
        breaks=((forwards, "is_going", lambda *_: False),),
        killers=(directed(C.test_no_counterpart_holds_a_leaver_by_new_forward_trades, leaver=2),),
    ),
    Mutant(
        name="presence is shown for whatever waits",
        rule="a member leaves",
        breaks=(
            edited(
                C,
                "should_show_presence",
                ("any(found.hindrance is Hindrance.TOO_FEW_SEEN for found in prospects)", "bool(waiting)"),
            ),
        ),
        killers=(directed(C.test_nobody_shows_presence_for_a_change_that_something_else_holds_up),),
    ),
    Mutant(
        name="a change that was not in force at a base is lost",
        rule="eras",
        breaks=(edited(execution, "begin_era", ("queue.last_height >= beginning.base", "False")),),
        killers=(at_a_base,),
    ),
    Mutant(
        name="a change that was not in force at a base stays",
        rule="eras",
        breaks=(edited(eras, "_without_later", ("term.last_height < in_force", "True")),),
        killers=(at_a_base,),
    ),
    Mutant(
        name="who left is not heard any more",
        rule="P8",
        breaks=(
            edited(
                Intake,
                "admit",
                (
                    "return isinstance(arrived.message, Status) and "
                    "member.state.memberships.is_follower(arrived.sender)",
                    "return False",
                ),
            ),
        ),
        killers=(calm,),
    ),
    Mutant(
        name="who left is heard and not answered",
        rule="P8",
        breaks=(
            edited(
                heights,
                "receive_status",
                (
                    "if sender not in member.state.memberships:\n        if message.undecided < member.state.height:",
                    "if sender not in member.state.memberships:\n        if False:",
                ),
            ),
        ),
        killers=(calm,),
    ),
    Mutant(
        name="a change that is fixed waits for somebody else's transaction",
        rule="P1",
        breaks=(
            edited(
                Ledger,
                "_looks_for_change",
                ("if memberships.undecided.members != memberships.following.members:", "if False:"),
            ),
        ),
        killers=(in_force,),
    ),
    Mutant(
        name="a change that may be carried out waits for somebody else's transaction",
        rule="P1",
        breaks=(
            edited(
                Ledger,
                "_looks_for_change",
                (
                    "return next_change(Overlay(self), height=height, slot=self.tip_slot, genesis=self.genesis) "
                    "is not None",
                    "return False",
                ),
            ),
        ),
        killers=(in_force,),
    ),
    Mutant(
        name="who left goes on signing",
        rule="members",
        breaks=(
            edited(
                Member,
                "silence",
                ("if self.keys.of(self.state.membership) is None:", "if False:"),
            ),
        ),
        killers=(directed(L.test_members_leave_a_network_in_trouble, seed=2),),
    ),
)
