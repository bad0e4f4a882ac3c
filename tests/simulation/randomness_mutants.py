"""Deliberate breaks of the chain's randomness: what is drawn, what proves an output, who proves what and when; and of
the stakes of those who may be drawn.

Left out are breaks that nothing can notice, for they change nothing:

| break | why |
|---|---|
| `vrf.verify` does not ask whether key and Gamma lie in the main subgroup | libsodium multiplies no other points |
| a block proposed again is checked under its proposer's key | the ledger hears of its header's leader alone |
"""

from typing import Any, Final

from consensus import sampling, vrf
from consensus.member import KeyRing
from contracts import clusters as drawn_clusters
from contracts import execution, joining, randomness, run
from ledger import ledger as ledger_module
from ledger import validation, verify
from node.chain.application import LedgerApplication
from tests.simulation.directed import directed
from tests.simulation.mutant import Killer, Mutant, edited
from tests.unit.consensus import test_sampling, test_vrf
from tests.unit.contracts import test_clusters, test_panels, test_randomness, test_stakes
from tests.unit.ledger import test_drawn_clusters, test_proofs_of_leaders

C: Final = test_clusters
D: Final = test_sampling
F: Final = test_vrf
R: Final = test_randomness
L: Final = test_drawn_clusters
P: Final = test_proofs_of_leaders
N: Final = test_panels
T: Final = test_stakes

same_everywhere = directed(R.test_a_leader_that_tries_65536_slots_proves_the_same_in_all)
seasons = directed(R.test_a_new_member_proves_nothing_until_64_slots_began_with_a_block)
regions = [vector for vector in D.VECTORS["clusters"] if len(set(vector["regions"])) > 1]


def broken(name: str, owner: Any, function: str, old: str, new: str, *killers: Killer) -> Mutant:
    return Mutant(name=name, rule="randomness", breaks=(edited(owner, function, (old, new)),), killers=killers)


def clusters(vectors: list[Any]) -> Killer:
    """A killer: clusters of vectors are drawn as they say."""

    def killer() -> None:
        for vector in vectors:
            D.test_clusters(vector)

    return killer


DRAWS: Final = (
    broken(
        "a stake that was taken back verifies while it is locked",
        N,
        "verifiers",
        "scores[address].staked >=",
        "scores[address].staked + (one.amount if (one := scores[address].unlocking) is not None else 0) >=",
        N.test_a_stake_that_was_taken_back_verifies_nothing,
    ),
    broken(
        "numbers below a bound are words modulo the bound",
        sampling.Draws,
        "below",
        "if word < limit:",
        "if True:",
        directed(D.test_words_and_numbers_below_a_bound),
    ),
    broken(
        "each region is as likely, whatever its size",
        sampling,
        "_draw_region",
        "ticket = draws.below(sum(map(len, regions.values())))",
        "return sorted(regions)[draws.below(len(regions))]; ticket = 0",
        clusters(regions),
    ),
    broken(
        "who was drawn leads in the order of the regions",
        D,
        "draw_cluster",
        "return tuple(draws.take(chosen, size))",
        "return tuple(chosen)",
        clusters(D.VECTORS["clusters"]),
    ),
)

CLUSTERS: Final = (
    broken(
        "a cluster that is short of members is drawn all the same",
        D,
        "sampling_of",
        "len(members) < members_min or len(fit) <= size",
        "len(members) < members_min",
        directed(D.test_nothing_is_drawn_among_few_members_or_where_no_more_are_eligible_than_a_cluster_has),
    ),
    broken(
        "clusters are drawn among few members, too",
        D,
        "sampling_of",
        "len(members) < members_min or len(fit) <= size",
        "len(fit) <= size",
        directed(D.test_nothing_is_drawn_among_few_members_or_where_no_more_are_eligible_than_a_cluster_has),
    ),
    broken(
        "every member is drawn, eligible or not",
        D,
        "sampling_of",
        " if address in eligible",
        "",
        directed(D.test_only_eligible_members_are_drawn_in_the_order_of_admission),
    ),
    broken(
        "a suspended member is drawn",
        drawn_clusters,
        "_is_fit",
        "not score.is_suspended and ",
        "",
        directed(C.test_a_score_below_the_threshold_and_a_suspension_bar_one_at_the_threshold_does_not),
    ),
    broken(
        "a member below the threshold is drawn",
        drawn_clusters,
        "_is_fit",
        " and score.value >= genesis.scores.threshold_validator",
        "",
        directed(C.test_a_score_below_the_threshold_and_a_suspension_bar_one_at_the_threshold_does_not),
    ),
    broken(
        "a member is drawn whose key is new",
        C,
        "sampling_above",
        "key in seasoned and ",
        "",
        directed(C.test_a_key_that_seasons_is_not_drawn_nor_one_that_no_block_brought),
    ),
    broken(
        "blocks carry no proof where clusters are drawn",
        validation,
        "input_to_prove",
        "is_sampled or ",
        "",
        directed(L.test_the_first_block_of_each_slot_carries_a_proof_and_moves_the_value),
    ),
)

PROOFS: Final = (
    broken(
        "a scalar above the order is the same proof again",
        vrf,
        "verify",
        'if int.from_bytes(answer, "little") >= _ORDER:',
        "if False:",
        directed(F.test_the_same_proof_has_no_second_form),
    ),
    broken(
        "any proof shows its output",
        vrf,
        "verify",
        "if _challenge(public_key, point, gamma, first, second) == challenge else None",
        "",
        directed(F.test_no_proof_with_one_bit_changed_is_one),
        directed(F.test_a_proof_is_of_one_key_and_one_input),
    ),
)

RULES: Final = (
    broken(
        "a leader proves another output in each of its slots",
        randomness,
        "input_to_prove",
        "height=height,",
        "height=height + slot,",
        same_everywhere,
    ),
    broken(
        "outputs are known before the height begins",
        randomness,
        "input_to_prove",
        "previous=randomness.value",
        "previous=chain",
        directed(R.test_another_height_and_another_value_are_proved_anew),
    ),
    broken(
        "every block of a slot carries a proof",
        randomness,
        "input_to_prove",
        "slot == parent_slot or ",
        "",
        directed(R.test_only_the_first_block_of_a_slot_carries_one),
    ),
    broken(
        "blocks carry proofs though nobody joins",
        randomness,
        "input_to_prove",
        " or not is_wanted",
        "",
        directed(R.test_nobody_proves_anything_while_nobody_joins),
        directed(R.test_a_draw_asks_for_proofs_until_it_is_over),
    ),
    broken(
        "a new key proves at once",
        randomness,
        "input_to_prove",
        "_is_seasoning(randomness, key) or ",
        "",
        seasons,
    ),
    broken(
        "who exchanges its key proves with whichever is at hand",
        KeyRing,
        "prove",
        "self.of(members)",
        "next(iter(self._signers.values()))",
        directed(P.test_who_exchanges_its_key_proves_with_the_old_one_as_long_as_it_leads_under_it),
    ),
    broken(
        "a key seasons by blocks, though one leader makes many",
        execution,
        "season_keys",
        "passed = run.context.slot > run.context.parent_slot",
        "passed = True",
        seasons,
    ),
    broken(
        "who leaves before its key has seasoned proves at its last height",
        randomness,
        "_member_keys",
        " or term.last_height > height",
        "",
        directed(R.test_the_seasoning_of_who_left_ends_with_its_last_height),
    ),
    broken(
        "keys season for ever",
        execution,
        "season_keys",
        "missing.items() if slots",
        "missing.items()",
        seasons,
    ),
    Mutant(
        name="no output moves anything",
        rule="randomness",
        breaks=((execution, "take_output", lambda _: ()),),
        killers=(
            directed(R.test_an_output_moves_the_value_and_a_block_without_one_does_not),
            directed(P.test_a_block_carries_its_leaders_proof_and_moves_the_randomness),
        ),
    ),
    broken(
        "execution does not hear of the proof",
        ledger_module,
        "execute",
        'vrf.output(draft.vrf_proof) if draft.vrf_proof else b""',
        'b""',
        directed(P.test_a_block_carries_its_leaders_proof_and_moves_the_randomness),
    ),
)

CHECKS: Final = (
    broken(
        "a leader's proof is believed",
        validation,
        "proof_refusal",
        "vrf.verify(key, statement, header.vrf_proof) is not None",
        "True",
        *(directed(P.test_a_changed_proof_is_refused, bit=bit) for bit in (8 * 32, 8 * 48)),
    ),
    broken(
        "a leader may leave its proof out",
        validation,
        "proof_refusal",
        'return _proof_refusal("its header carries no proof, should carry one")',
        "return None",
        directed(P.test_no_proof_and_those_of_others_and_of_other_heights_are_refused),
    ),
    broken(
        "a block may carry a proof that nothing asks for",
        validation,
        "proof_refusal",
        "if header.vrf_proof else None",
        "if False else None",
        directed(P.test_a_proof_that_nothing_asks_for_is_refused),
    ),
    broken(
        "nobody looks at proofs before it votes",
        ledger_module,
        "refusal_unexecuted",
        "or proof_refusal(block.header, parent, begun, state)",
        "",
        directed(P.test_a_proof_that_nothing_asks_for_is_refused),
    ),
    broken(
        "the check from genesis leaves proofs out",
        verify,
        "refusal_unexecuted",
        "or proof_refusal(block.header, parent, begun, state)",
        "",
        directed(P.test_the_check_from_genesis_finds_a_wrong_proof),
    ),
)

PANELS: Final = (
    broken(
        "who comes first decides the draw alone",
        execution,
        "take_output",
        "fault_bound(members) + 1",
        "1",
        directed(N.test_a_panel_is_drawn_once_so_many_different_leaders_proved_something),
    ),
    broken(
        "one leader counts for several",
        randomness,
        "_with_leader",
        "leader not in waiting.leaders",
        "True",
        directed(N.test_a_panel_is_drawn_once_so_many_different_leaders_proved_something),
    ),
    broken(
        "any stake is enough",
        N,
        "verifiers",
        ">= genesis.scores.threshold_stake",
        "> 0",
        directed(N.test_who_staked_enough_verifies_beside_the_founding_verifiers),
    ),
    broken(
        "founding verifiers verify for ever",
        N,
        "verifiers",
        "if len(staked) >= max(PANEL_MAX, quorum(len(members))):",
        "if False:",
        directed(N.test_as_soon_as_a_quorum_staked_nobody_verifies_without_a_stake, members=13, enough=10),
    ),
    broken(
        "the first ten that stake verify alone",
        N,
        "verifiers",
        "max(PANEL_MAX, quorum(len(members)))",
        "PANEL_MAX",
        directed(N.test_as_soon_as_a_quorum_staked_nobody_verifies_without_a_stake, members=31, enough=21),
    ),
    broken(
        "who may verify is asked when the draw is known",
        execution,
        "draw_panels",
        "applicant.may_verify,",
        "verifiers(run.overlay, run.genesis),",
        directed(N.test_who_stakes_after_the_request_is_not_drawn),
    ),
    broken(
        "every request has the same panel",
        N,
        "draw_panel",
        "PANEL + request",
        "PANEL",
        directed(N.test_the_last_output_and_the_request_decide_who_is_drawn),
    ),
    broken(
        "the draw follows from the output before",
        execution,
        "take_output",
        "replace(randomness, value=value, draws=left)",
        "replace(randomness, draws=left)",
        directed(N.test_the_last_output_and_the_request_decide_who_is_drawn),
    ),
    broken(
        "a request with many verifiers waits for no draw",
        joining,
        "_ask_verifiers",
        "wait_for_draw(run, address)",
        "pass",
        directed(N.test_a_panel_is_drawn_once_so_many_different_leaders_proved_something),
    ),
    broken(
        "panels follow each other for ever",
        execution,
        "draw_panels",
        "panels=applicant.panels + 1,",
        "panels=1,",
        directed(N.test_a_panel_that_does_not_decide_is_followed_by_another),
    ),
    broken(
        "another panel begins without the verdicts that were given",
        execution,
        "draw_panels",
        "if given.verifier in panel",
        "if False",
        directed(N.test_verdicts_of_who_is_drawn_again_still_count),
    ),
    broken(
        "verdicts of an earlier panel count",
        execution,
        "draw_panels",
        " if given.verifier in panel",
        "",
        directed(N.test_verdicts_of_who_is_drawn_again_still_count),
    ),
    broken(
        "the draw of what is over goes on",
        joining,
        "_finish",
        "wait_no_more(run, address)",
        "pass",
        directed(N.test_an_application_whose_draw_never_comes_lapses),
    ),
    broken(
        "no block is made for a draw",
        LedgerApplication,
        "build",
        " or (self._draw_waits() and slot > self.tip_slot)",
        "",
        directed(P.test_while_a_draw_waits_each_slot_has_one_block_of_its_own),
    ),
    broken(
        "a leader fills its slot with empty blocks while a draw waits",
        LedgerApplication,
        "build",
        " and slot > self.tip_slot",
        "",
        directed(P.test_while_a_draw_waits_each_slot_has_one_block_of_its_own),
    ),
    broken(
        "nobody waits for the blocks of a draw",
        LedgerApplication,
        "oldest_arrival_ms",
        " or self._draw_waits()",
        "",
        directed(P.test_while_a_draw_waits_each_slot_has_one_block_of_its_own),
    ),
)

STAKES: Final = (
    broken(
        "who takes its stake back has it at once",
        run.ScoreBoard,
        "_unlocking_after",
        "if left <= 0:",
        "if True:",
        directed(T.test_what_is_taken_back_stays_locked),
    ),
    broken(
        "what is staked again frees the rest later",
        run.ScoreBoard,
        "_unlocking_after",
        "if staked >= record.staked and record.unlocking is not None:",
        "if False:",
        directed(T.test_what_is_staked_again_is_locked_no_more),
    ),
    broken(
        "misconduct takes what stands as stake alone",
        run.ScoreBoard,
        "suspend",
        " - self._locked(record)",
        "",
        directed(
            T.test_misconduct_takes_what_is_locked_and_no_more_once_it_is_free, after=T.LOCKED - 1, taken=700_000
        ),
    ),
    broken(
        "what was taken back is locked for ever",
        run.ScoreBoard,
        "_locked",
        " or unlocking.until_slot <= self._slot",
        "",
        directed(T.test_misconduct_takes_what_is_locked_and_no_more_once_it_is_free, after=T.LOCKED, taken=200_000),
        directed(T.test_what_is_free_is_forgotten_with_the_next_stake),
    ),
    broken(
        "a fault leaves what is locked",
        run,
        "_stake_within",
        "min(unlocking.amount, Millionths(value - staked))",
        "unlocking.amount",
        directed(T.test_a_fault_takes_what_is_locked_before_what_is_staked),
    ),
)

RANDOMNESS_MUTANTS: Final = (*DRAWS, *CLUSTERS, *PROOFS, *RULES, *CHECKS, *PANELS, *STAKES)
