"""Deliberate breaks of block sync and of the block server: what is fetched, of whom, and how much is served."""

from typing import Final

from node.chain import block_sync, sync_planner
from node.chain.block_server import BlockServer
from node.chain.block_sync import BlockSync
from node.chain.sync_planner import SyncPlanner
from tests.simulation.directed import directed
from tests.simulation.lying_servers import other_block, other_body, other_slot, served_by_a_liar
from tests.simulation.mutant import Mutant, edited
from tests.unit.node.chain import test_block_sync, test_block_sync_checks, test_sync_planner

B = test_block_sync
C = test_block_sync_checks
P = test_sync_planner

served_another_block = served_by_a_liar(other_block)
served_another_body = served_by_a_liar(other_body)
served_another_slot = served_by_a_liar(other_slot)


def told(lie: C.Callable[[C.Blocks], C.Blocks], fault: C.SyncFault) -> C.Callable[[], object]:
    return directed(C.test_a_lie_is_not_fed_and_its_author_not_asked_again, lie=lie, fault=fault)


SYNC_MUTANTS: Final = (
    Mutant(
        name="fetched blocks are taken unchecked",
        rule="block sync",
        breaks=((block_sync, "fault_of", lambda *_: None),),
        killers=(
            served_another_block,
            served_another_body,
            served_another_slot,
            told(B.junk_certificate, C.SyncFault.BAD_CERTIFICATE),
        ),
    ),
    Mutant(
        name="a fetched block's certificate is not verified",
        rule="block sync",
        breaks=(
            edited(
                block_sync,
                "fault_of",
                (
                    "if isinstance(verify_message(decided, application.memberships().leaders, era), Verified):",
                    "if True:",
                ),
            ),
        ),
        killers=(
            served_another_block,
            served_another_slot,
            told(B.junk_certificate, C.SyncFault.BAD_CERTIFICATE),
            told(B.does_not_chain, C.SyncFault.DOES_NOT_CHAIN),
        ),
    ),
    Mutant(
        name="a fetched body is not held against its certificate",
        rule="block sync",
        breaks=(edited(block_sync, "fault_of", ("if not application.has_its_name(decided):", "if False:")),),
        killers=(served_another_body, told(B.other_body, C.SyncFault.NOT_A_BLOCK)),
    ),
    Mutant(
        name="what is said of others counts as a claim",
        rule="block sync",
        breaks=(edited(BlockSync, "on_status", ("message.origin == sender and ", "")),),
        killers=(directed(C.test_what_is_said_of_others_is_not_asked_for),),
    ),
    Mutant(
        name="who answers wrongly in form is asked on",
        rule="block sync",
        breaks=(edited(BlockSync, "on_blocks", ("if fault is not None:", "if False:")),),
        killers=(
            told(B.other_heights, C.SyncFault.WRONG_HEIGHT),
            told(B.more_than_asked, C.SyncFault.TOO_MANY),
        ),
    ),
    Mutant(
        name="who sends wrong blocks is not left out",
        rule="block sync",
        breaks=(edited(SyncPlanner, "ban", ("self._peer(sender).banned_until_ms = now_ms + BAN_MS", "pass")),),
        killers=(directed(P.test_a_banned_member_is_not_asked_its_blocks_go_and_the_ban_ends),),
    ),
    Mutant(
        name="the blocks of who sent wrong ones stay",
        rule="block sync",
        breaks=(edited(SyncPlanner, "_drop_all_of", ("if source == sender]", "if False]")),),
        killers=(directed(P.test_a_banned_member_is_not_asked_its_blocks_go_and_the_ban_ends),),
    ),
    Mutant(
        name="a banned member's late answers are read",
        rule="block sync",
        breaks=(
            edited(
                SyncPlanner,
                "_drop_all_of",
                ("peer.open.clear()\n    peer.late.clear()", "peer.late.update(peer.open)\n    peer.open.clear()"),
            ),
        ),
        killers=(directed(P.test_a_banned_members_late_answer_is_not_read),),
    ),
    Mutant(
        name="what was decided meanwhile is fed again",
        rule="block sync",
        breaks=(edited(BlockSync, "feed", ("if self._application.height + 1 == height:", "if True:")),),
        killers=(directed(C.test_what_was_decided_meanwhile_is_not_fed),),
    ),
    Mutant(
        name="blocks of other heights than asked for are held",
        rule="block sync",
        breaks=(
            edited(
                SyncPlanner,
                "take",
                (
                    "if any(block.certificate.height != first + index for index, block in enumerate(blocks)):",
                    "if False:",
                ),
            ),
        ),
        killers=(told(B.other_heights, C.SyncFault.WRONG_HEIGHT),),
    ),
    Mutant(
        name="more blocks than asked for are held",
        rule="bounds",
        breaks=(edited(SyncPlanner, "take", ("if len(blocks) > request.last - request.first + 1:", "if False:")),),
        killers=(
            directed(
                P.test_answers_wrong_in_form_are_named_and_nothing_of_them_is_held,
                answer=lambda ask: P.blocks(ask.first, ask.count + 1),
                fault=C.SyncFault.TOO_MANY,
            ),
        ),
    ),
    Mutant(
        name="answers that nobody asked for are held",
        rule="bounds",
        breaks=(
            edited(
                SyncPlanner,
                "take",
                (
                    "if request is None:\n        return None",
                    "if request is None:\n"
                    "        request = _Request(first=first, last=first + len(blocks) - 1, asked_ms=now_ms)",
                ),
            ),
        ),
        killers=(directed(P.test_an_answer_that_was_not_asked_for_is_ignored),),
    ),
    Mutant(
        name="one member's claim is where all are on their way to",
        rule="block sync",
        breaks=(edited(SyncPlanner, "target", ("claims[self._weak_quorum - 1]", "claims[0]")),),
        killers=(directed(P.test_one_liars_claim_is_not_the_target_while_honest_members_say_otherwise),),
    ),
    Mutant(
        name="any number of bytes is held before its turn",
        rule="bounds",
        breaks=(
            edited(
                SyncPlanner,
                "_next_ask",
                ("if first > self._undecided and self._held_size_bytes >= HELD_SIZE_BYTES_MAX:", "if False:"),
            ),
        ),
        killers=(directed(P.test_held_bytes_are_bounded_and_the_undecided_height_is_asked_for_all_the_same),),
    ),
    Mutant(
        name="any number of requests is open",
        rule="bounds",
        breaks=((sync_planner, "REQUESTS_MAX", 10**9),),
        killers=(directed(P.test_the_number_of_open_requests_is_bounded),),
    ),
    # --- serving ------------------------------------------------------------------------------------------------
    Mutant(
        name="blocks are served as fast as they are asked for",
        rule="bounds",
        breaks=(edited(BlockServer, "run", ("await self._pace.acquire(self.answer_next())", "self.answer_next()")),),
        killers=(directed(B.test_however_many_ask_answers_leave_at_a_bounded_rate),),
    ),
    Mutant(
        name="an answer costs the same however large it is",
        rule="bounds",
        breaks=(
            edited(
                BlockServer,
                "run",
                ("self._pace.acquire(self.answer_next())", "self._pace.acquire(min(1, self.answer_next()))"),
            ),
        ),
        killers=(directed(B.test_however_many_ask_answers_leave_at_a_bounded_rate),),
    ),
    Mutant(
        name="one member's requests fill the queue",
        rule="bounds",
        breaks=(edited(BlockServer, "request", ("if len(waiting) >= REQUESTS_PER_PEER_MAX:", "if False:")),),
        killers=(directed(B.test_members_are_answered_in_turn_and_one_cannot_fill_the_queue),),
    ),
    Mutant(
        name="an answer has any number of bytes",
        rule="bounds",
        breaks=(edited(BlockServer, "_answer", ("if blocks and size_bytes > ANSWER_SIZE_BYTES_MAX:", "if False:")),),
        killers=(directed(B.test_an_answer_is_bounded_in_bytes_but_has_at_least_one_block),),
    ),
    Mutant(
        name="who asks most is answered first",
        rule="bounds",
        breaks=(
            edited(
                BlockServer, "answer_next", ("self._turns.append(recipient)", "self._turns.appendleft(recipient)")
            ),
        ),
        killers=(directed(B.test_members_are_answered_in_turn_and_one_cannot_fill_the_queue),),
    ),
)
