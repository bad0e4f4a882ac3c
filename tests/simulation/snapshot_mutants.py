"""Deliberate breaks of how a state is told and taken in, and of how earlier blocks fill in behind it."""

from typing import Final

from ledger import origin
from node.chain import sync_planner
from node.chain.sync_planner import SyncPlanner
from node.snapshots import filled, filling, intake
from node.snapshots.filling import Filling
from node.snapshots.intake import SnapshotIntake
from node.snapshots.intake_planner import IntakePlanner
from node.snapshots.own_snapshots import OwnSnapshots
from node.snapshots.snapshot_server import SnapshotServer
from tests.simulation.breaks import nothing_happens
from tests.simulation.directed import directed
from tests.simulation.mutant import Mutant, edited
from tests.unit.ledger import test_origin_checkpoint
from tests.unit.node.chain import test_sync_planner
from tests.unit.node.snapshots import test_beginning, test_filling, test_serving, test_state_intake

B = test_beginning
C = test_origin_checkpoint
F = test_filling
S = test_serving
T = test_state_intake


def told(lie: str) -> object:
    return directed(F.test_who_lies_is_named_left_out_and_stops_nothing, lie=lie)


SNAPSHOT_MUTANTS: Final = (
    # --- told and taken in ---
    Mutant(
        name="more than two copies stay",
        rule="snapshots",
        breaks=(edited(OwnSnapshots, "_make", ("for older in sorted(self._copies)[:-1]:", "for older in ():")),),
        killers=(directed(S.test_copies_are_made_at_the_interval_and_the_last_two_kept),),
    ),
    Mutant(
        name="copies are made while blocks are fetched",
        rule="snapshots",
        breaks=(edited(OwnSnapshots, "due", (" and not self._is_behind()", "")),),
        killers=(directed(S.test_at_genesis_and_while_blocks_are_fetched_nothing_is_copied),),
    ),
    Mutant(
        name="a damaged copy is kept",
        rule="snapshots",
        breaks=(edited(SnapshotServer, "_read", ("self._snapshots.drop(copy, str(error))", "pass")),),
        killers=(directed(S.test_a_damaged_copy_is_dropped_and_told_to_nobody),),
    ),
    Mutant(
        name="any chunk is part of the state",
        rule="snapshots",
        breaks=((intake, "chunk_fault", nothing_happens),),
        killers=(
            directed(T.test_a_liar_among_three_is_found_at_its_first_wrong_chunk, change=T.without_an_entry),
            directed(T.test_a_liar_among_three_is_found_at_its_first_wrong_chunk, change=T.with_another_value),
        ),
    ),
    Mutant(
        name="who sent a wrong state is asked again",
        rule="snapshots",
        breaks=(edited(IntakePlanner, "refuse", ("peer.is_refused = True", "pass")),),
        killers=(directed(T.test_a_liar_among_three_is_found_at_its_first_wrong_chunk, change=T.without_an_entry),),
    ),
    Mutant(
        name="who joins gives up while nobody is linked",
        rule="snapshots",
        breaks=(
            edited(
                IntakePlanner,
                "requests",
                ("if not any(peer.is_connected for peer in self._peers.values()):", "if False:"),
            ),
        ),
        killers=(directed(T.test_while_nobody_is_linked_it_waits_however_long_and_goes_on_then, from_answer=5),),
    ),
    Mutant(
        name="members are asked while an origin is judged",
        rule="snapshots",
        breaks=(edited(IntakePlanner, "requests", ("if self._is_judging:", "if False:")),),
        killers=(directed(T.test_while_an_origin_is_judged_nobody_is_asked_and_nothing_ends),),
    ),
    Mutant(
        name="an origin is judged on the event loop",
        rule="snapshots",
        breaks=(
            edited(SnapshotIntake, "run", ("await asyncio.to_thread(self.judged, taken)", "self.judged(taken)")),
        ),
        killers=(directed(T.test_it_runs_on_the_loop_until_it_has_all_and_judges_the_origin_beside_it),),
    ),
    Mutant(
        name="an origin is not held against the checkpoint",
        rule="snapshots",
        breaks=(
            edited(
                intake,
                "check_origin",
                ("None if checkpoint is None else checkpoint_fault(origin, sets, checkpoint)", "None"),
            ),
        ),
        killers=(directed(T.test_an_origin_that_the_checkpoint_contradicts_is_refused),),
    ),
    Mutant(
        name="another block at the checkpoint's height is passed over",
        rule="snapshots",
        breaks=(
            edited(
                origin,
                "checkpoint_fault",
                ("if named.get(height, checkpoint.block) != checkpoint.block:", "if False:"),
            ),
        ),
        killers=(directed(C.test_another_block_at_a_height_that_its_headers_show_is_refused, below=5),),
    ),
    Mutant(
        name="anybody may decide far above a checkpoint",
        rule="snapshots",
        breaks=(
            edited(C, "checkpoint_fault", ("if both != (checkpoint.undecided, checkpoint.following):", "if False:")),
        ),
        killers=(
            directed(
                C.test_far_above_a_checkpoint_whoever_decides_must_come_from_its_members,
                bend="members of the height above it",
            ),
            directed(C.test_steps_that_leave_the_checkpoints_members_out_are_refused_though_they_decide),
        ),
    ),
    Mutant(
        name="a state takes the place of a ledger that has come further",
        rule="snapshots",
        breaks=(edited(B, "begin_with_taken", ("_height_of(home) >= taken.height or ", "")),),
        killers=(directed(B.test_a_ledger_that_has_come_further_stays),),
    ),
    Mutant(
        name="one member that lacks blocks is enough to give them up",
        rule="snapshots",
        breaks=(edited(SyncPlanner, "nobody_gives", ("if may_have or all(", "if all(")),),
        killers=(
            directed(
                test_sync_planner.test_that_nobody_gives_the_next_block_is_said_once_all_who_answer_have_said_so
            ),
        ),
    ),
    Mutant(
        name="blocks are given up before links to more members are up",
        rule="snapshots",
        breaks=((sync_planner, "LACKED_WAIT_MS", 0),),
        killers=(
            directed(
                test_sync_planner.test_that_nobody_gives_the_next_block_is_said_once_all_who_answer_have_said_so
            ),
        ),
    ),
    # --- earlier blocks ---
    Mutant(
        name="the body of an earlier block is believed",
        rule="filling in",
        breaks=(edited(filling, "take_decided", ("if not block_is_whole(block):", "if False:")),),
        killers=(told("body"),),
    ),
    Mutant(
        name="any votes decide an earlier block",
        rule="filling in",
        breaks=(edited(filling, "take_decided", ("if fault is not None or ", "if ")),),
        killers=(told("votes"),),
    ),
    Mutant(
        name="more earlier blocks than were asked for are taken",
        rule="filling in",
        breaks=(edited(Filling, "_take_all", ("if len(answer) > request.count:", "if False:")),),
        killers=(told("more"),),
    ),
    Mutant(
        name="who does not give earlier blocks is asked again at once",
        rule="filling in",
        breaks=((Filling, "_leave_out", nothing_happens),),
        killers=(directed(F.test_who_lacks_blocks_or_is_silent_is_passed_over),),
    ),
    Mutant(
        name="another history is taken for a fault of the disk",
        rule="filling in",
        breaks=(edited(filling, "take_decided", ("if block.header.parent != ledger.tip:", "if False:")),),
        killers=(directed(F.test_a_history_that_a_quorum_forged_is_told_in_words_and_the_ledger_stays, fork=40),),
    ),
    Mutant(
        name="who gave another history is not written down",
        rule="filling in",
        breaks=((Filling, "_note_source", nothing_happens),),
        killers=(directed(F.test_a_history_that_a_quorum_forged_is_told_in_words_and_the_ledger_stays, fork=40),),
    ),
    Mutant(
        name="a state that does not follow from the blocks below is as good as any",
        rule="filling in",
        breaks=(edited(Filling, "_fill", ("or own.height <= below:", "and own.height < below:")),),
        killers=(directed(F.test_a_snapshot_that_does_not_follow_from_the_blocks_below_is_found),),
    ),
    Mutant(
        name="earlier blocks are executed while the node is behind",
        rule="filling in",
        breaks=(edited(Filling, "_fill", ("if self._links.is_behind() or not", "if not")),),
        killers=(directed(F.test_blocks_are_executed_on_another_thread_and_never_while_the_node_is_behind),),
    ),
    Mutant(
        name="earlier blocks are executed on the event loop",
        rule="filling in",
        breaks=(edited(Filling, "_apart", ("asyncio.to_thread(work)", "asyncio.sleep(0, work())")),),
        killers=(directed(F.test_blocks_are_executed_on_another_thread_and_never_while_the_node_is_behind),),
    ),
    Mutant(
        name="earlier blocks are executed without a pause",
        rule="filling in",
        breaks=(edited(Filling, "_paced", ("PAUSE_FACTOR * (", "0 * (")),),
        killers=(directed(F.test_it_pauses_four_times_what_a_block_takes),),
    ),
    Mutant(
        name="earlier blocks fill the disk",
        rule="filling in",
        breaks=(edited(Filling, "_has_room", ("if free >= FREE_SIZE_BYTES_MIN:", "if True:")),),
        killers=(directed(F.test_it_waits_for_room_on_the_disk),),
    ),
    Mutant(
        name="what consensus keeps of the undecided height is lost with the other ledger",
        rule="filling in",
        breaks=(edited(filled, "_come_as_far", ("filled.persist_undecided(present.undecided())", "pass")),),
        killers=(
            directed(F.test_the_ledger_then_is_one_from_genesis_with_all_that_the_other_one_had),
            directed(F.test_what_was_decided_meanwhile_is_there_too),
        ),
    ),
    Mutant(
        name="a ledger of another history takes the place",
        rule="filling in",
        breaks=(
            edited(
                filled,
                "_come_as_far",
                ("if block_digest(filled.decided_block(present.height).header) != present.tip:", "if False:"),
            ),
        ),
        killers=(directed(F.test_a_ledger_of_another_history_that_came_as_far_is_not_taken),),
    ),
    Mutant(
        name="a ledger that has not come to the snapshot takes the place",
        rule="filling in",
        breaks=(edited(filled, "_come_as_far", (" or filled.height < present.first_height", "")),),
        killers=(
            directed(F.test_whenever_the_process_ends_the_ledger_is_the_unfilled_one_and_it_goes_on_where_it_stopped),
        ),
    ),
    Mutant(
        name="a process that ends between the two renames leaves no ledger",
        rule="filling in",
        breaks=(edited(filled, "settle", ("replaced.rename(home.ledger)", "pass")),),
        killers=(
            directed(
                F.test_whenever_the_process_ends_as_the_ledger_is_taken_one_of_both_is_there_and_the_next_start_does_the_rest,
                step=6,
            ),
        ),
    ),
)
