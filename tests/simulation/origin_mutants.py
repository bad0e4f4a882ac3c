"""Deliberate breaks of a ledger that begins at an origin: its checks, its making, and what it cannot tell."""

from typing import Final

from ledger import creation, origin, startup, verify
from ledger.ledger_reading import LedgerReader
from node.chain.driver import Driver
from node.stories import trade_search
from tests.simulation.breaks import nothing_happens
from tests.simulation.directed import directed
from tests.simulation.mutant import Mutant, edited
from tests.unit.ledger import test_origin, test_origin_disk
from tests.unit.node.chain import test_driver
from tests.unit.node.stories import test_origin_stories

O = test_origin  # noqa: E741
D = test_origin_disk
S = test_origin_stories


def refused(what: str) -> object:
    return directed(O.test_what_does_not_hold_is_refused_and_leaves_nothing, what=what)


ORIGIN_MUTANTS: Final = (
    Mutant(
        name="any certificate decides an origin",
        rule="origin",
        breaks=(
            edited(creation, "check_origin", ("_require(None if fault is None else", "_require(None if True else")),
        ),
        killers=(directed(O.test_a_block_that_strangers_decided_is_refused_whatever_its_state_says_of_them),),
    ),
    Mutant(
        name="the body of an origin is believed",
        rule="origin",
        breaks=(edited(verify, "check_origin", ("if not block_is_whole(origin.block):", "if False:")),),
        killers=(directed(D.test_another_body_of_the_origin_is_found),),
    ),
    Mutant(
        name="the receipts of an origin are believed",
        rule="origin",
        breaks=((origin, "receipts_fault", nothing_happens),),
        killers=(directed(D.test_other_receipts_of_the_origin_are_found),),
    ),
    Mutant(
        name="the headers below an origin are believed",
        rule="origin",
        breaks=((origin, "headers_fault", nothing_happens),),
        killers=(refused("a header of another block"), refused("the lowest header is missing")),
    ),
    Mutant(
        name="fewer headers below an origin are enough",
        rule="origin",
        breaks=(edited(origin, "headers_fault", ("min(header.height - 1, NAMED_BELOW_MAX)", "1")),),
        killers=(refused("the lowest header is missing"),),
    ),
    Mutant(
        name="the root of an origin's state is not compared",
        rule="origin",
        breaks=(edited(creation, "_write_state", ("if root != header.state_root:", "if False:")),),
        killers=(refused("a key too many"), refused("a value is another")),
    ),
    Mutant(
        name="the books of an origin are not summed up",
        rule="origin",
        breaks=(edited(creation, "_check_state", ("if unbalanced:", "if False:")),),
        killers=(directed(O.test_a_state_whose_tokens_do_not_add_up_is_refused_even_if_members_decided_it),),
    ),
    Mutant(
        name="blocks below an origin cannot be named",
        rule="origin",
        breaks=(
            edited(creation, "origin_entries", ("for digest, below in stored.named", "for digest, below in ()")),
        ),
        killers=(directed(O.test_a_candidate_may_name_a_block_that_lies_below_the_origin, below=1),),
    ),
    Mutant(
        name="the check from an origin knows one block below it too few",
        rule="origin",
        breaks=(edited(verify._Audit, "_begin_at", ("in (*stored.named, ", "in (*stored.named[1:], ")),),
        killers=(
            directed(O.test_a_candidate_may_name_a_block_that_lies_below_the_origin, below=origin.NAMED_BELOW_MAX),
        ),
    ),
    Mutant(
        name="a ledger from an origin says that it is one from genesis",
        rule="origin",
        breaks=(
            edited(creation, "origin_entries", ("version=ORIGIN_FORMAT_VERSION", "version=FORMAT_VERSION")),
            edited(
                startup,
                "read_origin",
                ("if (data is not None) != (stored.version == ORIGIN_FORMAT_VERSION):", "if False:"),
            ),
        ),
        killers=(directed(D.test_it_says_what_it_is_so_that_nobody_takes_it_for_one_from_genesis),),
    ),
    Mutant(
        name="what lies below an origin never was",
        rule="origin",
        breaks=((LedgerReader, "_require_here", nothing_happens),),
        killers=(directed(O.test_whatever_lies_below_is_refused_in_words_and_nothing_is_taken_for_what_never_was),),
    ),
    Mutant(
        name="steps that lead to an origin are not shown any more",
        rule="origin",
        breaks=(edited(LedgerReader, "set_steps_in_turns", ("yield origin.steps", "yield ()")),),
        killers=(
            directed(O.test_whatever_it_began_at_it_goes_on_as_the_whole_one_across_changes_of_members, height=8),
        ),
    ),
    Mutant(
        name="who is far behind is sent decided blocks that are not here",
        rule="origin",
        breaks=(edited(Driver, "_send_decided", ("if answer.first < self._application.first_height:", "if False:")),),
        killers=(directed(test_driver.test_who_lacks_blocks_sends_none_and_goes_on),),
    ),
    Mutant(
        name="a contract is told without what decided about it",
        rule="origin",
        breaks=((trade_search, "began_below", lambda *_: False),),
        killers=(directed(S.test_it_tells_the_same_or_that_it_cannot, height=8),),
    ),
    Mutant(
        name="a statement is made of the contracts that are here",
        rule="origin",
        breaks=(edited(S, "month_statement", ("if not is_balanced:", "if False:")),),
        killers=(directed(S.test_a_statement_without_contracts_that_were_made_below_is_refused),),
    ),
)
