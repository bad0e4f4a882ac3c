"""Deliberate breaks of the driver and what it stands on: durable before sent, failures, memory, names of blocks."""

from typing import Final

from node.chain import driver
from node.chain.application import LedgerApplication
from node.chain.driver import Driver
from node.chain.driver_loop import DriverLoop
from node.chain.sign_recovery import SignRecovery
from node.home import storage
from tests.simulation import breaks
from tests.simulation.directed import directed
from tests.simulation.mutant import Mutant, edited
from tests.unit.node.chain import test_driver, test_driver_durability, test_sign_recovery
from tests.unit.node.home import test_storage

D = test_driver_durability
R = test_sign_recovery
S = test_storage


def passed_over(statement: str, indent: int = 12) -> str:
    """The statement, whose failure is nobody's matter."""
    before = " " * indent
    return f"try:\n{before}    {statement}\n{before}except Exception:\n{before}    pass"


DRIVER_MUTANTS: Final = (
    # --- durable before sent -----------------------------------------------------------------------------------
    Mutant(
        name="votes and COMMITs leave before their records",
        rule="driver",
        breaks=((Driver, "_carry_out", breaks.send_before_persist),),
        killers=(directed(D.test_what_leaves_is_on_the_disk_whole), directed(D.test_so_is_a_promise_and_its_copy)),
    ),
    Mutant(
        name="the proposal voted for is not recorded",
        rule="driver",
        breaks=(edited(Driver, "_persist", ("records[VOTED_KEY] = encode(effects.voted)", "pass")),),
        killers=(directed(D.test_what_leaves_is_on_the_disk_whole),),
    ),
    Mutant(
        name="a COMMIT's body is not recorded",
        rule="driver",
        breaks=(
            edited(
                Driver,
                "_persist",
                (
                    "= encode(effects.prepared)",
                    '= encode(PreparedBlock(certificate=effects.prepared.certificate, proposal=b""))',
                ),
            ),
        ),
        killers=(directed(D.test_what_leaves_is_on_the_disk_whole),),
    ),
    Mutant(
        name="the copy of the sign state is made only with other records",
        rule="driver",
        breaks=(
            edited(
                Driver,
                "_persist",
                ("if effects.sign_state is not None:\n        records", "if records:\n        records"),
            ),
        ),
        killers=(directed(D.test_so_is_a_promise_and_its_copy),),
    ),
    Mutant(
        name="the sign state is written first, the records that it names after",
        rule="driver",
        breaks=((Driver, "_persist", breaks.sign_state_before_records),),
        killers=(directed(D.test_the_records_come_first_then_the_sign_state_that_names_them),),
    ),
    Mutant(
        name="a block is told of before it is written",
        rule="driver",
        breaks=(
            edited(
                LedgerApplication,
                "append",
                (
                    "self._ledger.append(block, decision.certificate)\n"
                    "    receipts = self._ledger.receipts(decision.height)",
                    "receipts = ()",
                ),
                (
                    "applied_ms=time.time_ns() // 1_000_000,\n        )\n    )",
                    "applied_ms=time.time_ns() // 1_000_000,\n        )\n    )\n"
                    "    self._ledger.append(block, decision.certificate)",
                ),
            ),
        ),
        killers=(directed(D.test_a_block_is_told_of_once_it_is_written),),
    ),
    # --- failed writes -----------------------------------------------------------------------------------------
    Mutant(
        name="records that cannot be written are passed over",
        rule="driver",
        breaks=(
            edited(
                Driver,
                "_persist",
                ("self._application.persist(records)", passed_over("self._application.persist(records)", 8)),
            ),
        ),
        killers=tuple(
            directed(D.test_records_that_the_disk_does_not_take_stop_the_node_before_anything_leaves, kind=kind)
            for kind in (D.Prepare, D.Commit)
        ),
    ),
    Mutant(
        name="a sign state that cannot be written is passed over",
        rule="driver",
        breaks=(
            edited(
                Driver,
                "_persist",
                (
                    "self._sign_state.save(encode(effects.sign_state))",
                    passed_over("self._sign_state.save(encode(effects.sign_state))", 8),
                ),
            ),
        ),
        killers=(directed(D.test_a_sign_state_that_the_disk_does_not_take_stops_the_node_before_anything_leaves),),
    ),
    Mutant(
        name="a block that cannot be written is passed over",
        rule="driver",
        breaks=(
            edited(
                Driver,
                "_apply",
                ("self._application.append(decision)", passed_over("self._application.append(decision)", 4)),
            ),
        ),
        killers=(directed(D.test_a_block_that_the_disk_does_not_take_stops_the_node_and_nobody_is_told),),
    ),
    Mutant(
        name="after a failed write the driver goes on with the next event",
        rule="driver",
        breaks=(edited(Driver, "post", ("if self._has_failed:", "if False:")),),
        killers=(
            directed(D.test_a_sign_state_that_the_disk_does_not_take_stops_the_node_before_anything_leaves),
            directed(D.test_a_block_that_the_disk_does_not_take_stops_the_node_and_nobody_is_told),
        ),
    ),
    Mutant(
        name="a block whose execution fails by our own bug is merely not voted for",
        rule="driver",
        breaks=(edited(Driver, "_execute", ("self.fail(error)", "pass")),),
        killers=(directed(test_driver.test_a_validation_that_fails_by_our_own_bug_stops_the_node),),
    ),
    # --- restart -----------------------------------------------------------------------------------------------
    Mutant(
        name="the proposal voted for is not read at the start",
        rule="restart",
        breaks=(
            edited(
                driver, "stored_start", ("voted=None if voted is None else decode(voted, PrePrepare)", "voted=None")
            ),
        ),
        killers=(directed(D.test_after_a_restart_what_was_sent_is_sent_again),),
    ),
    Mutant(
        name="the certificate committed to is not read at the start",
        rule="restart",
        breaks=(
            edited(
                driver,
                "stored_start",
                ("prepared=None if prepared is None else decode(prepared, PreparedBlock)", "prepared=None"),
            ),
        ),
        killers=(directed(D.test_after_a_restart_what_was_sent_is_sent_again),),
    ),
    Mutant(
        name="the copy of the sign state is not read at the start",
        rule="restart",
        breaks=(
            edited(
                driver,
                "stored_start",
                ("sign_state_copy=None if copy is None else decode(copy, SignState)", "sign_state_copy=None"),
            ),
        ),
        killers=(directed(test_driver.test_a_promise_outlives_an_old_sign_state_put_back),),
    ),
    # --- what was forgotten ------------------------------------------------------------------------------------
    Mutant(
        name="at the start nobody looks for own COMMITs in the last blocks",
        rule="recovery",
        breaks=((Driver, "_check_memory", breaks.nothing_happens),),
        killers=(
            directed(
                S.test_a_sign_state_older_than_the_stored_certificates_is_found_out_at_the_start,
                height=S.BLOCKS,
                is_old=True,
            ),
        ),
    ),
    Mutant(
        name="an own COMMIT in a decided block's certificate is not looked at",
        rule="recovery",
        breaks=(
            edited(
                Driver,
                "_apply",
                ("self._is_forgotten(decision.certificate, self._app", "self._is_forgotten(self._app"),
            ),
        ),
        killers=(
            directed(
                S.test_it_is_found_out_when_a_decided_block_shows_it, signers=(0, 1, 2), is_old=True, is_synced=True
            ),
        ),
    ),
    Mutant(
        name="an own COMMIT in the certificate that a block carries is not looked at",
        rule="recovery",
        breaks=(
            edited(
                Driver,
                "_apply",
                (
                    "(decision.certificate, self._application.parent_certificate(decision.proposal))",
                    "(decision.certificate)",
                ),
            ),
        ),
        killers=(directed(S.test_or_when_only_the_certificate_that_the_next_block_carries_shows_it),),
    ),
    Mutant(
        name="an own statement in a message is not looked at",
        rule="recovery",
        breaks=(
            edited(
                Driver,
                "_verify",
                ("if is_forgotten(result.message, self._own, self._replica.remembered):", "if False:"),
            ),
        ),
        killers=(
            directed(S.test_or_when_a_member_shows_an_own_vote_of_the_undecided_height),
            directed(D.test_what_shows_that_something_was_forgotten_leads_to_no_signature),
        ),
    ),
    Mutant(
        name="the silence begins behind what waits for its turn",
        rule="recovery",
        breaks=(edited(Driver, "_forget", ("self._events.appendleft(", "self._events.append(")),),
        killers=(directed(D.test_nor_does_what_came_before_it_and_waits_for_its_turn),),
    ),
    Mutant(
        name="what was executed too late is refused",
        rule="driver",
        breaks=(edited(Driver, "_execute", ("or request.height != self._application.height + 1", "")),),
        killers=(directed(D.test_what_was_executed_for_a_height_that_is_decided_meanwhile_says_nothing),),
    ),
    Mutant(
        name="what fails on the way back from the thread is passed over",
        rule="driver",
        breaks=(edited(DriverLoop, "_verify", ("self.fail(error)", "pass")),),
        killers=(directed(D.test_what_fails_on_the_way_back_from_the_thread_stops_the_node),),
    ),
    Mutant(
        name="a lost sign state is made anew without a silence",
        rule="recovery",
        breaks=(edited(storage, "forgetful_sign_state", ("silent_through=UNANSWERED", "silent_through=Height(0)")),),
        killers=(directed(S.test_a_lost_sign_state_forbids_every_signature, content=None),),
    ),
    Mutant(
        name="who keeps silent answers how far the chain is",
        rule="recovery",
        breaks=(
            edited(
                SignRecovery,
                "_answer",
                ("silent_through=self._links.silent_through()", "silent_through=Height(0)"),
            ),
        ),
        killers=(directed(R.test_who_keeps_silent_itself_does_not_answer),),
    ),
    Mutant(
        name="questions are answered without a limit",
        rule="bounds",
        breaks=(
            edited(SignRecovery, "on_question", ("self._answered.take(asker) if is_direct", "True if is_direct")),
        ),
        killers=(directed(R.test_answers_are_limited_per_link),),
    ),
    Mutant(
        name="an answer names a height that is decided",
        rule="recovery",
        breaks=(
            edited(
                SignRecovery,
                "_answer",
                ("undecided=Height(self._application.height + 1)", "undecided=self._application.height"),
            ),
        ),
        killers=(directed(R.test_an_answer_names_the_undecided_height_under_the_members_signature),),
    ),
    Mutant(
        name="all questions have one nonce",
        rule="recovery",
        breaks=(edited(SignRecovery, "look", ("self._draw(NONCE_SIZE_BYTES)", "bytes(NONCE_SIZE_BYTES)")),),
        killers=(directed(R.test_nonces_differ_from_question_to_question),),
    ),
    # --- blocks and their names --------------------------------------------------------------------------------
    Mutant(
        name="a body is not held against the header that names it",
        rule="names",
        breaks=(edited(LedgerApplication, "has_its_name", ("and block_is_whole(block)", "")),),
        killers=tuple(
            directed(D.test_a_body_that_its_name_does_not_name_is_refused, kind=kind, change=D.other_body)
            for kind in (D.PrePrepare, D.Body, D.Decided)
        ),
    ),
    Mutant(
        name="a block is not held against its name",
        rule="names",
        breaks=(edited(LedgerApplication, "has_its_name", ("block_digest(block.header) == name and", "")),),
        killers=tuple(
            directed(D.test_a_body_that_its_name_does_not_name_is_refused, kind=kind, change=D.other_header)
            for kind in (D.PrePrepare, D.Body, D.Decided)
        ),
    ),
    Mutant(
        name="messages with a body under another name are handed on",
        rule="names",
        breaks=(edited(Driver, "_verify", ("if not self._application.has_its_name(one.message):", "if False:")),),
        killers=tuple(
            directed(D.test_a_body_that_its_name_does_not_name_is_refused, kind=kind, change=D.other_header)
            for kind in (D.PrePrepare, D.Body, D.Decided)
        ),
    ),
    Mutant(
        name="messages are handed on unverified",
        rule="S1 to S5",
        breaks=(
            edited(
                Driver,
                "_verify",
                (
                    "verify_message(one.message, self._replica.leaders, self._replica.era)",
                    "Verified(one.message)",
                ),
            ),
        ),
        killers=(directed(S.test_or_when_a_member_shows_an_own_vote_of_the_undecided_height),),
    ),
    Mutant(
        name="an invalid block gets a vote",
        rule="S1",
        breaks=(edited(LedgerApplication, "check", ("return None", "return block.header.slot")),),
        killers=(directed(D.test_an_invalid_block_gets_no_vote),),
    ),
    Mutant(
        name="a run of decided blocks of any size is sent",
        rule="bounds",
        breaks=(edited(Driver, "_send_decided", ("if size_bytes >= DECIDED_RUN_SIZE_BYTES_MAX:", "if False:")),),
        killers=(directed(test_driver.test_a_run_of_decided_blocks_is_bounded_in_bytes, size_bytes_max=1, blocks=1),),
    ),
)
