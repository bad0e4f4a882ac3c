"""Deliberate breaks of the ledger: what a block must be, what is kept of it, what a start checks."""

from typing import Any, Final

from consensus.identifiers import Slot
from contracts import execution as contracts_execution
from ledger import ledger as ledger_module
from ledger import startup, transactions, validation
from ledger.ledger import Ledger
from ledger.transactions import TransactionVerifier
from ledger.validation import Admission, BlockRefusalReason
from tests.simulation.directed import directed
from tests.simulation.mutant import Killer, Mutant, edited
from tests.unit.contracts import test_block_execution, test_conservation
from tests.unit.ledger import test_block_validation, test_ledger, test_ledger_startup, test_transaction_verifier

C = test_conservation
E = test_block_execution
L = test_ledger
S = test_ledger_startup
V = test_block_validation
Reason = BlockRefusalReason


def header_field(reason: BlockRefusalReason, **fields: Any) -> Killer:
    """A killer: a block with another value in its header is refused for just that."""
    return directed(V.test_each_header_field_is_checked, fields=Fields(fields), reason=reason)


def broken_books(number: int) -> Killer:
    return directed(C.test_broken_books_are_found, breaks=C.BROKEN[number])


class Fields(dict[str, Any]):
    """Keyword arguments that can name a killer."""

    def __hash__(self) -> int:  # type: ignore[override]
        return hash(tuple(self.items()))


def without_result(name: str) -> tuple[Any, str, Any]:
    """A break: that root is not compared with what the block executes to."""
    line = f"(BlockRefusalReason.{name.upper()}, claimed.{name}, right.{name}),"
    return edited(ledger_module, "result_refusal", (line, ""))


VALIDATION_MUTANTS: Final = (
    *(
        Mutant(
            name=f"the block's {name.replace('_', ' ')} is not compared with what it executes to",
            rule="validity",
            breaks=(without_result(name),),
            killers=(header_field(Reason[name.upper()], **{name: V.OTHER}),),
        )
        for name in ("state_root", "receipts_root", "postings_root", "transactions_root", "membership")
    ),
    Mutant(
        name="postings are believed",
        rule="validity",
        breaks=(
            edited(ledger_module, "result_refusal", ("if block.postings != executed.block.postings:", "if False:")),
        ),
        killers=(directed(V.TestTransactions.test_postings_are_recomputed),),
    ),
    Mutant(
        name="a block extends any parent",
        rule="validity",
        breaks=(
            edited(
                validation,
                "_header_refusal",
                ("(BlockRefusalReason.WRONG_PARENT, header.parent, parent.digest),", ""),
            ),
        ),
        killers=(header_field(Reason.WRONG_PARENT, parent=V.OTHER),),
    ),
    Mutant(
        name="a block of another chain is valid",
        rule="validity",
        breaks=(
            edited(
                validation, "_header_refusal", ("(BlockRefusalReason.WRONG_CHAIN, header.chain, eras.chain),", "")
            ),
        ),
        killers=(header_field(Reason.WRONG_CHAIN, chain=V.OTHER),),
    ),
    Mutant(
        name="a block of any member is valid in any slot",
        rule="validity",
        breaks=(
            edited(
                validation,
                "_header_refusal",
                ("(BlockRefusalReason.NOT_THE_LEADER, header.leader, leader),", ""),
            ),
        ),
        killers=(
            header_field(Reason.NOT_THE_LEADER, slot=Slot(4)),
            header_field(Reason.NOT_THE_LEADER, leader=V.OTHER),
        ),
    ),
    Mutant(
        name="block time goes back",
        rule="validity",
        breaks=(edited(validation, "_header_refusal", ("if header.slot < parent.slot:", "if False:")),),
        killers=(header_field(Reason.SLOT_BEFORE_PARENT, slot=Slot(1)),),
    ),
    Mutant(
        name="a block of another height is valid",
        rule="validity",
        breaks=(edited(validation, "_header_refusal", ("if header.height != expected_height:", "if False:")),),
        killers=tuple(header_field(Reason.WRONG_HEIGHT, height=height) for height in (2, 4)),
    ),
    Mutant(
        name="any number of transactions is valid",
        rule="validity",
        breaks=(
            edited(validation, "_limits_refusal", ("if count > parameters.block_transactions_max:", "if False:")),
        ),
        killers=(directed(V.TestLimits.test_the_count_is_limited),),
    ),
    Mutant(
        name="any number of bytes is valid",
        rule="validity",
        breaks=(
            edited(validation, "_limits_refusal", ("if size_bytes > parameters.block_size_bytes_max:", "if False:")),
        ),
        killers=(directed(V.TestLimits.test_the_bytes_are_limited),),
    ),
    # --- the certificate that a block carries --------------------------------------------------------------------
    Mutant(
        name="the parent's certificate may be of another height",
        rule="validity",
        breaks=(edited(validation, "certificate_fault", ("if certificate.height != height:", "if False:")),),
        killers=(
            directed(
                V.TestParentCertificate.test_anything_else_is_refused,
                make=lambda chain: V.certify(chain.community, 3, 2, chain.ledger.tip),
            ),
        ),
    ),
    Mutant(
        name="the parent's certificate may be of another block",
        rule="validity",
        breaks=(edited(validation, "certificate_fault", ("if certificate.block != block:", "if False:")),),
        killers=(
            directed(
                V.TestParentCertificate.test_anything_else_is_refused,
                make=lambda chain: V.certify(chain.community, 2, 2, V.OTHER),
            ),
        ),
    ),
    Mutant(
        name="the parent's certificate is not verified",
        rule="validity",
        breaks=(
            edited(
                validation,
                "certificate_fault",
                ("if not commit_certificate_holds(certificate, membership, era):", "if False:"),
            ),
        ),
        killers=(
            directed(V.TestParentCertificate.test_an_unsorted_one_is_refused),
            directed(
                V.TestParentCertificate.test_anything_else_is_refused,
                make=lambda chain: V.certify(chain.community, 2, 2, chain.ledger.tip, signers=(0, 1)),
            ),
        ),
    ),
    Mutant(
        name="the parent's certificate is not the one that the header names",
        rule="validity",
        breaks=(
            edited(
                validation,
                "parent_certificate_refusal",
                ("if certificate_digest(certificate) != block.header.parent_certificate:", "if False:"),
            ),
        ),
        killers=(header_field(Reason.PARENT_CERTIFICATE, parent_certificate=V.OTHER),),
    ),
    # --- transactions --------------------------------------------------------------------------------------------
    Mutant(
        name="nonces need not increase inside a block",
        rule="validity",
        breaks=(edited(Admission, "admit", ("self._nonces[sender] = transaction.envelope.nonce", "pass")),),
        killers=(directed(V.TestTransactions.test_nonces_increase_inside_a_block_and_gaps_are_allowed),),
    ),
    Mutant(
        name="a nonce may be used twice",
        rule="validity",
        breaks=(
            edited(
                validation,
                "envelope_refusal",
                ("if envelope.nonce <= last_nonce:", "if envelope.nonce < last_nonce:"),
            ),
        ),
        killers=(directed(V.TestTransactions.test_what_is_on_the_chain_is_not_admitted_again),),
    ),
    Mutant(
        name="an expired transaction is valid",
        rule="validity",
        breaks=(edited(validation, "envelope_refusal", ("if envelope.valid_until_height < height:", "if False:")),),
        killers=(
            directed(V.TestTransactions.test_old_nonces_expired_unknown_foreign_and_tampered_ones_invalidate_a_block),
        ),
    ),
    Mutant(
        name="a transaction's signature is not verified",
        rule="validity",
        breaks=((transactions, "signature_holds", lambda _: True),),
        killers=(
            directed(V.TestTransactions.test_old_nonces_expired_unknown_foreign_and_tampered_ones_invalidate_a_block),
        ),
    ),
    Mutant(
        name="a transaction of another chain is valid",
        rule="validity",
        breaks=(edited(TransactionVerifier, "verify", ("if envelope.chain != self._chain:", "if False:")),),
        killers=(directed(test_transaction_verifier.test_another_chain_is_told_from_a_bad_signature),),
    ),
    # --- conservation --------------------------------------------------------------------------------------------
    Mutant(
        name="the books are not looked at after a block",
        rule="conservation",
        breaks=((contracts_execution, "assert_conserved", lambda _overlay, _scores: None),),
        killers=(directed(E.test_unbalanced_books_stop_the_block),),
    ),
    Mutant(
        name="sums that do not add up are passed over",
        rule="conservation",
        breaks=(edited(C, "assert_conserved", ('assert not broken, "; ".join(broken)', "pass")),),
        killers=(broken_books(0), broken_books(11)),
    ),
    Mutant(
        name="a record that contradicts itself is passed over",
        rule="conservation",
        breaks=(edited(C, "assert_conserved", ("assert not faults,", "assert True,")),),
        killers=(broken_books(17), broken_books(18)),
    ),
    Mutant(
        name="a trade that is over may change",
        rule="conservation",
        breaks=(edited(C, "assert_conserved", ("assert before == record,", "assert True,")),),
        killers=(broken_books(20),),
    ),
)

APPEND_MUTANTS: Final = (
    Mutant(
        name="a block is appended with the certificate of another",
        rule="append",
        breaks=(
            edited(
                Ledger,
                "_require_next",
                (
                    "(certificate.height, certificate.block) != (header.height, digest)",
                    "certificate.height != header.height",
                ),
            ),
        ),
        killers=(directed(L.TestAppend.test_only_the_next_height_on_the_tip_with_its_own_certificate),),
    ),
    Mutant(
        name="a block is appended with the certificate of another height",
        rule="append",
        breaks=(
            edited(
                Ledger,
                "_require_next",
                ("(certificate.height, certificate.block) != (header.height, digest)", "certificate.block != digest"),
            ),
        ),
        killers=(directed(L.TestAppend.test_only_the_next_height_on_the_tip_with_its_own_certificate),),
    ),
    Mutant(
        name="a remembered header vouches for another body that is voted for",
        rule="append",
        breaks=(edited(Ledger, "check", ("and known.block == block", "")),),
        killers=(directed(V.test_a_remembered_header_does_not_vouch_for_another_body),),
    ),
    Mutant(
        name="a remembered header vouches for another body that is appended",
        rule="append",
        breaks=(edited(Ledger, "append", ("or executed.block != block", "")),),
        killers=(directed(V.test_a_remembered_header_does_not_vouch_for_another_body),),
    ),
    Mutant(
        name="a decided block that executes to something else is appended",
        rule="append",
        breaks=(edited(Ledger, "_validate", ("result_refusal(block, executed) or executed", "executed")),),
        killers=(
            directed(L.TestAppend.test_a_decided_block_that_executes_to_something_else_is_not_written),
            header_field(Reason.STATE_ROOT, state_root=V.OTHER),
        ),
    ),
    *(
        Mutant(
            name=f"a body is whole though {what} are others than its header names",
            rule="names",
            breaks=(edited(V, "block_is_whole", (text, instead)),),
            killers=(directed(V.test_a_block_is_whole_with_the_body_that_its_header_names_alone),),
        )
        for what, text, instead in (
            ("the transactions", "tree_root(block.transactions) == header.transactions_root", "True"),
            (
                "the postings",
                "and tree_root([encode(posting) for posting in block.postings]) == header.postings_root",
                "",
            ),
            ("the endorsements", "and certificate_digest(block.parent_certificate) == header.parent_certificate", ""),
        )
    ),
    *(
        Mutant(
            name=f"a block is written without {what}",
            rule="append",
            breaks=(edited(ledger_module, "block_entries", (line, instead)),),
            killers=(directed(L.test_what_is_appended_can_be_read_and_is_there_after_opening_again),),
        )
        for what, line, instead in (
            ("its index", "block_digest_key(executed.digest): height_bytes(height),", ""),
            (
                "the places of its transactions",
                "entries[transaction_key(receipt.transaction)] = location_bytes(height, index)",
                "pass",
            ),
        )
    ),
    Mutant(
        name="nodes of the map of old states stay",
        rule="append",
        breaks=(
            edited(
                Ledger, "append", ("stale = [node_key(name) for name in executed.map_update.removed]", "stale = []")
            ),
        ),
        killers=(directed(L.TestAppend.test_nodes_of_old_states_are_dropped_and_those_of_the_newest_kept),),
    ),
    Mutant(
        name="any number of executions is remembered",
        rule="bounds",
        breaks=(edited(Ledger, "_remember", ("while len(self._executed) > EXECUTIONS_MAX:", "while False:")),),
        killers=(directed(L.TestAppend.test_remembered_executions_are_bounded_and_dropped),),
    ),
    Mutant(
        name="executions of decided heights stay remembered",
        rule="bounds",
        breaks=(edited(Ledger, "append", ("self._executed.clear()", "pass")),),
        killers=(directed(L.TestAppend.test_remembered_executions_are_bounded_and_dropped),),
    ),
)

STARTUP_MUTANTS: Final = (
    Mutant(
        name="the seal is not compared at the start",
        rule="start",
        breaks=(edited(ledger_module, "check_files", ("if faults:", "if False:")),),
        killers=(directed(S.TestSeal.test_a_lost_a_new_and_a_shortened_file_are_found),),
    ),
    Mutant(
        name="the last blocks are not looked at",
        rule="start",
        breaks=((startup, "_check_block", lambda *_: None),),
        killers=tuple(
            directed(S.test_recent_records_are_checked, height=S.BLOCKS - 1, key_of=key_of)
            for key_of in (S.certificate_key, S.receipts_key)
        ),
    ),
    Mutant(
        name="the certificates of the last blocks are not verified",
        rule="start",
        breaks=(edited(startup, "_check_block", ("if fault is not None:", "if False:")),),
        killers=(directed(S.test_recent_records_are_checked, height=S.BLOCKS - 1, key_of=S.certificate_key),),
    ),
    Mutant(
        name="the tip record is not held against its block",
        rule="start",
        breaks=(
            edited(
                startup,
                "_parent",
                ("if (tip.block, tip.state_root) != (block_digest(header), header.state_root):", "if False:"),
            ),
        ),
        killers=(directed(S.TestTip.test_so_it_is_where_the_mark_is_older),),
    ),
    Mutant(
        name="the state is not held against its root",
        rule="start",
        breaks=((startup, "_check_map", lambda *_: None),),
        killers=(directed(S.test_indexes_versions_map_nodes_and_format_are_checked),),
    ),
    Mutant(
        name="data of an earlier format is opened",
        rule="start",
        breaks=(edited(startup, "_check_format", ("require_format(stored)", "pass")),),
        killers=(directed(S.test_data_of_an_earlier_format_is_refused_with_both_versions_named),),
    ),
    Mutant(
        name="records above the tip are no damage",
        rule="start",
        breaks=(
            edited(
                startup,
                "check_newest",
                ("if highest is not None and highest > tip.height:", "if False:"),
            ),
        ),
        killers=(directed(S.test_records_above_the_tip_are_damage),),
    ),
)

LEDGER_MUTANTS: Final = (*VALIDATION_MUTANTS, *APPEND_MUTANTS, *STARTUP_MUTANTS)
