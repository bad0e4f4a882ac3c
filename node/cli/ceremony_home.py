"""A stopped node's home, opened for a step of a ceremony: key, sign state and ledger, locked as by the daemon."""

import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from consensus import ceremony
from consensus.ceremony_records import CHANGES_MAX
from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.era_plans import AppliedEra, Plan
from consensus.events import EraStanding, SignState, forgetful_sign_state
from consensus.identifiers import FIRST_HEIGHT, GENESIS_HEIGHT, Digest, EraNumber, Height
from consensus.replica import Start, standing_where_the_chain_is
from contracts.genesis import Genesis
from contracts.state import MEMBER_LIST_KEY, MemberList
from contracts.state_reading import require
from ledger.eras import BegunEra
from ledger.errors import LedgerDamaged
from ledger.ledger import Ledger
from ledger.trusted_sets import SetChange
from node.admission.next_keys import finish_taking, home_keys
from node.chain.application import read_decided
from node.chain.records import stored_start
from node.errors import NodeError
from node.home.configuration import Configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from node.home.halt import refuse_if_halted
from node.home.process import process_id_file
from node.home.sign_state import SignStateFile
from node.home.storage import eras_of, find_sign_state, next_aside, open_sign_state, read_sign_state, set_aside

REFUSALS: Final = {
    ceremony.CeremonyRefusal.ERA_PASSED: (
        "this node takes part in era {own} already: the next one is era {next} "
        "(`p2pnode recover export --era {next}`)"
    ),
    ceremony.CeremonyRefusal.SEALED_HIGHER: (
        "this node made a statement for era {sealed} since: go on with that one (`p2pnode recover export --era "
        "{sealed}`){back}"
    ),
    ceremony.CeremonyRefusal.NOT_SEALED: "this node made no statement for era {era}, or took it back: export first",
    ceremony.CeremonyRefusal.OTHER_STATEMENT: (
        "the plan was not made of this node's newest statement: make it again with that one"
    ),
    ceremony.CeremonyRefusal.JOINED_ANOTHER: (
        "this node agreed to another plan of era {joined}, and agrees to one per era: go on with that one, or let "
        "all export for the next era (`p2pnode recover export --era {later}`)"
    ),
    ceremony.CeremonyRefusal.NOT_COMPLETE: "too few of the old members agreed: more of their agreements are needed",
    ceremony.CeremonyRefusal.NO_MEMBER: "this node's key is none of the members'",
    ceremony.CeremonyRefusal.OTHER_BLOCK: "this node's ledger has another block at the plan's base",
    ceremony.CeremonyRefusal.LEDGER_ABOVE: (
        "this node's ledger has decided blocks above the plan's base: export its statement, and make a plan of a "
        "later era with it"
    ),
    ceremony.CeremonyRefusal.AGREED: "this node agreed to a plan: it goes on with that, or with one of a later era",
}
"""Why a step is not taken, and what to do next."""


class CeremonyHome:
    """The open home. `save` makes a sign state durable; nothing that it speaks of may leave before."""

    def __init__(self, name: str, home: Home, file: SignStateFile | None, closing: ExitStack) -> None:
        """Takes the open sign state, None of one that is lost, and what closes all that is opened later."""
        self.name = name
        self.home = home
        finish_taking(home)
        self._keys = home_keys(home)
        self._file = file
        self._closing = closing

    @cached_property
    def ledger(self) -> Ledger:
        """The home's ledger. One that is lost is made anew, empty, as the daemon would: the statement says what is
        missing. It goes again if the step is not taken.
        """
        genesis, begun, directory = load_genesis(self.home), self.eras(), self.home.ledger
        if Ledger.exists(directory):
            ledger = _open_ledger(directory, genesis, begun)
        else:
            self._closing.push(self._remove_made)
            ledger = Ledger.create(directory, genesis, begun=begun)
        self._closing.callback(ledger.close)
        return ledger

    def _remove_made(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is not None:
            shutil.rmtree(self.home.ledger, ignore_errors=True)

    @property
    def last_height(self) -> Height | None:
        """The last height that the home was a member of; None of one that did not leave."""
        known = require(self.ledger, MEMBER_LIST_KEY, MemberList)
        ended = (term for term in known.terms if term.address not in known.addresses)
        return next((term.last_height for term in ended if term.node_key == self.key.public_key), None)

    @property
    def key(self) -> SigningKey:
        """The node key; of two, the one that votes at the undecided height."""
        if len(self._keys) == 1:
            return self._keys[0]
        voting = {key for _, key in self.ledger.memberships().undecided.members}
        return next((key for key in self._keys if key.public_key in voting), self._keys[0])

    @property
    def signer(self) -> SigningKey:
        """The node key as the member's whose it is."""
        address = self.ledger.member_of(self.key.public_key)
        return self.key if address is None else self.key.of_member(address)

    @property
    def sign_state(self) -> SignState:
        """As durable now; of one that is lost, what takes its place."""
        return forgetful_sign_state(FIRST_HEIGHT) if self._file is None else read_sign_state(self._file)

    def takes_part_in(self, plan: Plan) -> bool:
        """Says whether the home has begun the era of a plan, by this plan."""
        standing = self.sign_state.standing
        return AppliedEra(era=standing.era, plan=standing.plan) == plan.applied

    def save(self, state: SignState) -> None:
        """Makes a sign state durable, synced, when it returns. A damaged one is set aside for it, not before."""
        if self._file is None:
            self._file = open_sign_state(self.home)
            self._closing.callback(self._file.close)
        self._file.save(encode(state))

    def eras(self) -> list[BegunEra]:
        """Returns the eras that the home began.

        Raises:
            NodeError: the files of one are lost.
        """
        return eras_of(self.home, self.sign_state)

    @property
    def standing(self) -> EraStanding:
        """Where the home stands among the eras: as its sign state says; if that is lost, as its ledger does."""
        return standing_where_the_chain_is(self._start()).standing

    def facts(self) -> ceremony.Home:
        """Returns what a statement shows."""
        ledger = self.ledger
        newest = range(max(ledger.first_height, ledger.height - 1), ledger.height + 1)
        return ceremony.Home(
            chain=ledger.chain,
            start=self._start(),
            decided=[read_decided(ledger, Height(height)) for height in newest],
        )

    def changes(self) -> tuple[bytes, ...]:
        """Returns how the members changed in the home's era, with proofs; of those before its plan brings it.

        Raises:
            NodeError: they changed more often than a file can say.
        """
        era = self.standing.era
        steps = (step for step in self.ledger.set_steps() if isinstance(step, SetChange))
        changes = tuple(encode(step) for step in steps if step.header.era == era)
        if len(changes) > CHANGES_MAX:
            raise NodeError(
                f"the members changed {len(changes)} times in era {era}, and a statement says at most {CHANGES_MAX} "
                "of them. Nothing was changed"
            )
        return changes

    def ledger_facts(self) -> ceremony.LedgerFacts:
        """Returns what the ledger says of eras."""
        ledger = self.ledger
        certificate = None if ledger.height == GENESIS_HEIGHT else ledger.certificate(ledger.height)
        copy = self._start().sign_state_copy
        eras = [0 if certificate is None else certificate.era, 0 if copy is None else copy.standing.era]
        return ceremony.LedgerFacts(height=ledger.height, block_at=self._block_at, signed_in=EraNumber(max(eras)))

    def _start(self) -> Start:
        return stored_start(self.ledger, self.ledger.undecided(), self.sign_state)

    def _block_at(self, height: Height) -> Digest:
        if height == GENESIS_HEIGHT:
            return self.ledger.chain
        certificate = self.ledger.certificate(height)
        assert certificate is not None, f"height {height} is decided"
        return certificate.block

    def set_ledger_aside(self) -> None:
        """Gives the ledger up for one that the others' blocks fill anew."""
        self.ledger.close()
        set_aside(self.home.ledger)


@contextmanager
def open_home(configuration: Configuration, *, restores_eras: bool = False) -> Iterator[CeremonyHome]:
    """Opens a stopped node's home. What is lost of it is made anew once the step is taken, not before.

    Args:
        configuration: its configuration.
        restores_eras: the step brings back files of eras that are lost; every other step needs them all.

    Raises:
        NodeError: the node runs, or one of its files is not usable.
    """
    home = configuration.home
    refuse_if_halted(home)
    with process_id_file(home), ExitStack() as stack:
        file = find_sign_state(home)
        if file is not None:
            stack.callback(file.close)
        opened = CeremonyHome(configuration.node.name, home, file, stack)
        if not restores_eras:
            opened.eras()
        yield opened


def _open_ledger(directory: Path, genesis: Genesis, begun: Sequence[BegunEra]) -> Ledger:
    try:
        return Ledger.open(directory, genesis, begun=begun)
    except LedgerDamaged as damaged:
        aside = shlex.join(("mv", str(directory), str(next_aside(directory))))
        raise NodeError(
            f"{directory}: {damaged}. To go on without it, as where it is lost, run `{aside}` and repeat this step. "
            "Nothing was changed"
        ) from None


def refused(refusal: ceremony.CeremonyRefusal, era: int, standing: EraStanding) -> NodeError:
    """Returns what a home says that does not take a step, with what to do next."""
    joined = 0 if standing.joined is None else standing.joined.era
    text = REFUSALS[refusal].format(
        era=era,
        own=standing.era,
        next=standing.era + 1,
        sealed=standing.sealed_below,
        joined=joined,
        later=joined + 1,
        back="" if joined == standing.sealed_below else ", or take it back (`p2pnode recover release`)",
    )
    return NodeError(f"{text}. Nothing was changed")
