"""Ceremonies by chance: the production driver, replica and sign state, and the production steps of a ceremony, on few
homes (`ceremony_home` says what is production code and what is left out).

A run lets the members decide a few heights, makes them lose sign states, records and blocks, more than F of them at
once as well, and lets people export, plan, join, apply and release in any order: late, again, in part, by two plans
at once, for a second era before the first one is applied. In half of the runs processes die at any durable step, of
the node and of a ceremony, and people take the step again. At most F members lie: they vote for and commit to every
block in every era, agree to every plan, and state what suits them, as far as it can be proven.

`ceremony_checker` says what must hold.
"""

import dataclasses
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

from msgspec.structs import replace

from consensus import ceremony, plans
from consensus.ceremony_records import MemberStatement, SignedMemberStatement, SignedPlan
from consensus.codec import encode
from consensus.era_plans import AppliedEra, Departure, Join, join_bytes, plan_digest
from consensus.events import Decision, JoinedPlan, PreparedBlock, SignState
from consensus.identifiers import Address, Digest, EraNumber, Height, Slot
from consensus.membership import Leaders, Membership
from consensus.messages import (
    Commit,
    Decided,
    HeightAnswer,
    HeightQuestion,
    Message,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
    commit_bytes,
    view_change_bytes,
    vote_bytes,
)
from consensus.past import Past
from consensus.quorum import fault_bound, quorum
from tests.simulation.ceremony_checker import CeremonyChecker, ForkError, Homes, ViolationError
from tests.simulation.ceremony_home import CHAIN, TAU_MS, Home, block_of, parent_of
from tests.simulation.network import drop_logs
from tests.simulation.signing import KeyedHashKey, keyed_hash_keys, keyed_hashes

DEEDS: Final = ("state", "plan", "join", "apply", "release", "lose")
WEIGHTS: Final = (30, 6, 30, 20, 1, 1)
LOSSES: Final = ("sign state", "records", "both", "blocks")
CONSENSUS_STEPS: Final = 60
CEREMONY_STEPS: Final = 90
AGAIN_SHARE: Final = 0.3
CONCLUDED_SHARE: Final = 0.5
"""Of the eras: in the end people do it as the manual says."""
CRASH_SHARE: Final = 0.02
"""Of durable steps, in half of the runs: the last thing that a process does."""
ERAS_MAX: Final = 2
PLANS_MAX: Final = 5

Pool = dict[tuple[bytes, int], list[tuple[Address, Message]]]
"""What was ever said, by domain and height."""


class Liar:
    """A member that signs whatever helps; it has no home of its own to lose."""

    def __init__(self, world: "World", key: KeyedHashKey) -> None:
        self.world = world
        self.key = key
        self.signed: set[bytes] = set()

    def on_said(self, applied: AppliedEra, message: Message) -> None:
        """Votes for and commits to every block that it hears of, and asks for every slot that somebody asks for."""
        era = self.world.past.eras(applied).at(_height_of(message))
        match message:
            case PrePrepare() | Prepare() | Commit():
                for kind, bytes_of in ((Prepare, vote_bytes), (Commit, commit_bytes)):
                    signed = bytes_of(era.domain, message.height, message.slot, message.block)
                    if signed not in self.signed:
                        self.signed.add(signed)
                        self.world.pool_of(applied, message.height).append(
                            (
                                self.key.address,
                                kind(
                                    height=message.height,
                                    slot=message.slot,
                                    block=message.block,
                                    signer=self.key.address,
                                    signature=self.key.sign(signed),
                                ),
                            )
                        )
            case ViewChange():
                signed = view_change_bytes(era.domain, message.height, message.slot, None)
                if signed not in self.signed:
                    self.signed.add(signed)
                    change = replace(
                        message,
                        claim=None,
                        certificate=None,
                        signer=self.key.address,
                        signature=self.key.sign(signed),
                    )
                    self.world.pool_of(applied, message.height).append((self.key.address, change))
            case _:
                pass

    def propose(self, home: Home) -> None:
        """Two blocks for a slot that it leads, on top of what some home has."""
        random, height = self.world.random, Height(home.height + 1)
        members = home.set_of(height)
        if self.key.address not in members or home.replica is None or home.carried is not None:
            return
        slot = Slot(home.replica.present_slot(home.now()))
        while Leaders(members).whose(slot) != self.key.address:
            slot = Slot(slot + 1)
        era = self.world.past.eras(home.applied).at(height)
        for number in (1, 2):
            proposal = encode((home.tip, slot, self.key.address, number + 10 * random.randrange(3)))
            block = block_of(proposal)
            message = PrePrepare(
                height=height,
                slot=slot,
                block=block,
                signer=self.key.address,
                signature=self.key.sign(vote_bytes(era.domain, height, slot, block)),
                justification=None,
                proposal=proposal,
            )
            self.world.pool_of(home.applied, height).append((self.key.address, message))

    def state(self, era: int) -> None:
        """Any proven chain, any proven prepared block, any plan: as if it had lost nothing."""
        random, world = self.world.random, self.world
        home = random.choice(world.homes)
        end = random.randint(0, home.height)
        base = self.world.past.plan(home.applied)
        end = max(end, 0 if base is None else min(base.base, home.height))
        joined = None
        if world.plans and random.random() < 0.4:
            plan = random.choice(world.plans).plan
            joined = JoinedPlan(era=plan.era, plan=plan_digest(plan)) if plan.era < era else None
        shown = [one for one in world.prepared_ever if one.certificate.height == end + 1]
        statement = MemberStatement(
            chain=CHAIN,
            author=self.key.address,
            era=EraNumber(era),
            number=random.randint(1, 3),
            applied=home.applied,
            joined=joined,
            height=Height(end),
            block=home.block_at(end),
            decided=tuple(home.blocks[max(0, end - 2) : end]),
            prepared=random.choice(shown) if shown and random.random() < 0.6 else None,
            voted=None,
            promise=Slot(0),
            missing=(),
        )
        world.statements.append(
            SignedMemberStatement(statement=statement, signature=self.key.sign(encode(statement)))
        )


class Absent(Enum):
    """Who makes no statement, and what the authority says of them."""

    ANY = "any"
    """Up to N - Q stay away mostly; of who made no statement the authority says anything."""
    NOBODY = "all present"
    REPLACED = "the absent one replaced"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run came to."""

    members: int
    liars: int
    seed: int
    eras: int
    """The highest era that an honest home began."""
    complete: int
    """Complete plans."""
    carried: bool
    """A complete plan carried a block."""
    lost: bool
    """A block that somebody decided was replaced, with fewer than K* complete statements."""
    fork: str | None
    """How those who took part split, or what none of them may do."""
    broken: str | None
    """Which decided block was lost though the plans had K* complete statements."""
    occurred: Counter[str] = field(default_factory=Counter)

    @property
    def violation(self) -> str | None:
        return self.fork or self.broken


class World:
    """All homes, what was said, what people carry from one to another."""

    def __init__(self, members: int, random: Random, *, liars: int = 0, absent: Absent = Absent.ANY) -> None:
        self.random = random
        self.occurred: Counter[str] = Counter()
        self.crash_share = 0.0
        self.now_ms = TAU_MS
        keys = keyed_hash_keys(members)
        self.authorities = (KeyedHashKey(b"authority"), KeyedHashKey(b"authority's next key"))
        self.genesis = Membership.of_keys([key.public_key for key in keys])
        self.past = Past(
            CHAIN,
            lambda _: self.genesis,
            first_authority=self.authorities[0].public_key,
            parent_of=parent_of,
            authority_in=lambda proposal: self.authority_after(block_of(proposal)).public_key,
            members_in=lambda *_: None,
        )
        self.checker = CeremonyChecker(CHAIN, self.genesis.members)
        self.pool: Pool = defaultdict(list)
        self.statements: list[SignedMemberStatement] = []
        self.plans: list[SignedPlan] = []
        self.joins: dict[Digest, list[Join]] = defaultdict(list)
        self.carried_bodies: dict[Digest, bytes] = {}
        self.decided_ever: dict[int, set[Digest]] = defaultdict(set)
        self.prepared_ever: list[PreparedBlock] = []
        lying = set(random.sample(range(members), liars))
        self.liars = [Liar(self, keys[number]) for number in sorted(lying)]
        self.homes = [Home(self, key) for number, key in enumerate(keys) if number not in lying]
        self.applied: dict[Digest, list[Home]] = defaultdict(list)
        """Which homes began an era, by its plan."""
        self.kind = absent
        self.absent = self._draw_absent(members)
        for home in self.homes:
            home.run()

    def _draw_absent(self, members: int) -> list[Home]:
        if self.kind is not Absent.ANY:
            return self.random.sample(self.homes, int(self.kind is Absent.REPLACED))
        most = members - quorum(members)
        count = self.random.randint(0, most) if self.random.random() < 0.5 else 0
        return self.random.sample(self.homes, min(count, len(self.homes)))

    def authority_after(self, block: Digest) -> KeyedHashKey:
        """Any block may replace the authority's key: its name draws which of two acts after it."""
        return self.authorities[0 if block == CHAIN else block[0] % 2]

    def vouched_for(self, made: SignedPlan) -> SignedPlan:
        """The authority signs a plan, with the key that acts once all that the plan keeps is decided."""
        plan = made.plan
        key = self.authority_after(plan.base_block if plan.carried is None else plan.carried)
        assert plan.authority == key.public_key, "the plan goes by another key of the authority"
        replaced = plan.carried is not None and key != self.authority_after(plan.base_block)
        self.occurred["the carried block replaced the authority's key"] += replaced
        return replace(made, authority=key.sign(encode(plan)))

    # --- what homes need of each other ----------------------------------------------------------------------

    def pool_of(self, applied: AppliedEra, height: int) -> list[tuple[Address, Message]]:
        era = self.past.eras(applied).at(Height(height))
        return self.pool[era.domain, height]

    def say(self, home: Home, message: Message) -> None:
        if isinstance(message, Status):
            return
        if isinstance(message, Decided):
            return  # fetched from the home that has it
        if getattr(message, "signer", None) == home.key.address:
            self.checker.note_said(home.key.public_key, home.applied, message)
        self.pool_of(home.applied, _height_of(message)).append((home.key.address, message))
        for liar in self.liars:
            liar.on_said(home.applied, message)
        if isinstance(message, Commit) and home.prepared is not None:
            self.prepared_ever.append(home.prepared)

    def note_stated(self, home: Home, signed: SignedMemberStatement) -> None:
        self.statements.append(signed)
        self.checker.note_stated(home.key.public_key, signed.statement.era)

    def note_released(self, home: Home) -> None:
        self.occurred["a seal was taken back"] += 1
        self.checker.note_released(home.key.public_key)

    def note_applied(self, home: Home, signed: SignedPlan, begun: ceremony.Applied, before: SignState) -> None:
        """What befell the plan and the home that began its era."""
        plan, occurred = signed.plan, self.occurred
        occurred[f"era {plan.era} began"] += 1
        joined = before.standing.joined
        has_joined = joined is not None and joined.plan == plan_digest(plan)
        occurred["a home that had not agreed began an era"] += not has_joined
        occurred["a home began an era silent, and asks"] += begun.sign_state.silent_through > 0
        occurred["a new home began an era in another's place"] += any(
            departure.node_key == home.key.public_key for departure in plan.departures
        )
        self.applied[plan_digest(plan)].append(home)

    def note_accused(self, offender: Address) -> None:
        assert offender in {liar.key.address for liar in self.liars}, "an honest member was accused"

    def note_decided(self, decision: Decision) -> None:
        self.decided_ever[decision.height].add(decision.block)

    def answer(self, member: Address, question: HeightQuestion) -> HeightAnswer | None:
        for home in self.homes:
            if home.key.address == member and home.replica is not None:
                found = home.answer(question)
                if found is not None:
                    return found
        return None

    # --- consensus ----------------------------------------------------------------------------------------------

    def consensus_step(self) -> None:
        """One thing happens at one home: it hears something, time passes, it starts, it fetches a block, it asks."""
        random = self.random
        self.now_ms += random.randint(0, TAU_MS if random.random() < 0.1 else TAU_MS // 20)
        home = random.choice(self.homes)
        drawn = random.random()
        if home.replica is None:
            if drawn < 0.5:
                home.run()
            return
        if drawn < 0.70:
            self._let_hear(home)
        elif drawn < 0.86:
            home.tick()
        elif drawn < 0.93:
            self._let_fetch(home)
        elif drawn < 0.96:
            home.ask()
        elif self.liars:
            random.choice(self.liars).propose(home)

    def _let_hear(self, home: Home) -> None:
        """Some of what was said at its height; each time it may be the same again."""
        said = self.pool_of(home.applied, home.height + 1)
        for sender, message in self.random.sample(said, min(len(said), self.random.randint(1, 6))):
            if sender != home.key.address:
                home.hear(message, sender)

    def _let_fetch(self, home: Home) -> None:
        other = self.random.choice(self.homes)
        if other.height > home.height:
            home.hear(other.blocks[home.height], other.key.address)

    # --- what people do -----------------------------------------------------------------------------------------

    def people_step(self, era: int) -> None:
        """One person does one thing with one home or with the files."""
        interrupted = next((home.interrupted for home in self.homes if home.interrupted is not None), None)
        if interrupted is not None and self.random.random() < AGAIN_SHARE:
            self.occurred["an interrupted step was taken again"] += interrupted() is None
            return
        deed = self.random.choices(DEEDS, weights=WEIGHTS)[0]
        home = self.random.choice(self.homes)
        if home in self.absent and deed in {"state", "join"} and self.random.random() < 0.9:
            return
        match deed:
            case "state":
                self._state(home, era)
            case "plan":
                self.plan(era)
            case "join":
                self._join(home)
            case "apply" if self.plans:
                self._apply(home)
            case "release":
                home.release()
            case "lose":
                home.stop()
                home.lose(self.random.choice(LOSSES))

    def _state(self, home: Home, era: int) -> None:
        if home.sign_state.standing.sealed_below != era or self.random.random() < 0.1:
            home.state(era)
        for liar in self.liars:
            if self.random.random() < 0.3:
                liar.state(era)

    def _apply(self, home: Home) -> None:
        signed = self._some_plan()
        has_begun = home in self.applied[plan_digest(signed.plan)]
        refusal = home.apply(signed)
        self.occurred["a plan was applied again"] += has_begun and refusal is ceremony.CeremonyRefusal.ERA_PASSED
        self.occurred["a ledger above the base was refused"] += refusal is ceremony.CeremonyRefusal.LEDGER_ABOVE

    def conclude(self, era: int) -> None:
        """All who are there state and agree to one plan, and most begin its era."""
        there = [home for home in self.homes if home not in self.absent]
        for home in there:
            self._state(home, era)
        signed = self.plan(era)
        if signed is not None:
            for home in there:
                home.join(signed)
            for home in self.homes:
                if self.random.random() < 0.7:
                    home.apply(signed)

    def _some_plan(self) -> SignedPlan:
        """People mostly agree on one."""
        return self.plans[-1] if self.random.random() < 0.7 else self.random.choice(self.plans)

    def _join(self, home: Home) -> None:
        if self.plans:
            signed = self._some_plan()
            if plans.plan_fault(signed, self.past) is None:
                home.join(signed)

    def plan(self, era: int) -> SignedPlan | None:
        """Somebody makes a plan of some of the statements; the authority says what became of the others."""
        random = self.random
        if len(self.plans) >= PLANS_MAX:
            return None
        leave_out = random.choice((0.0, 0.1, 0.3))
        authors = {one.statement.author for one in self.statements}
        left = {author for author in sorted(authors) if random.random() < leave_out}
        chosen = [
            one
            for one in self.statements
            if one.statement.author not in left
            and random.random() < 0.95
            and plans.statement_fault(one, self.past) is None
        ]
        made = plans.make_plan(chosen, (), era=EraNumber(era), past=self.past)
        if isinstance(made, plans.PlanRefusal):
            return None
        departures = self._departures(made)
        made = plans.make_plan(chosen, departures, era=EraNumber(era), past=self.past)
        if isinstance(made, plans.PlanRefusal) or not self._is_trusted(made):
            return None
        signed = self.vouched_for(made)
        fault = plans.follow(signed, self.past)
        assert fault is None, f"a plan that was made is refused: {fault}"
        if all(other.plan != signed.plan for other in self.plans):
            self.occurred["two plans of one era"] += any(other.plan.era == era for other in self.plans)
            self.occurred["a plan followed one that nobody had begun"] += (
                made.plan.follows.plan is not None and not self.applied[made.plan.follows.plan]
            )
            self.checker.note_plan(signed)
            self.plans.append(signed)
            for liar in self.liars:
                self.joins[plan_digest(signed.plan)].append(
                    Join(
                        author=liar.key.address,
                        signature=liar.key.sign(join_bytes(signed.plan, liar.key.address)),
                    )
                )
        return signed

    def _departures(self, made: SignedPlan) -> list[Departure]:
        stated = {name.author for name in made.plan.statements}
        departures = []
        for address, _ in made.plan.quorums[0]:
            drawn = self.random.random()
            if self.kind is Absent.REPLACED:
                drawn = 1.0 if address in {home.key.address for home in self.absent} else 0.0
            if address in stated or self.kind is Absent.NOBODY or drawn < 0.4:
                continue
            key = None
            if drawn > 0.8:
                new = KeyedHashKey(self.random.randbytes(8)).of_member(address)
                key = new.public_key
                self.homes.append(Home(self, new))
            departures.append(Departure(address=address, node_key=key))
        return departures

    def _is_trusted(self, made: SignedPlan) -> bool:
        """At most F of those who go on lie; else nothing is promised."""
        lying = {liar.key.public_key for liar in self.liars}
        members = made.plan.members
        return sum(key in lying for _, key in members) <= fault_bound(len(members))

    # --- the verdict ----------------------------------------------------------------------------------------------

    def outcome(self, members: int, seed: int) -> Outcome:
        complete = [signed for signed in self.plans if self._is_complete(signed)]
        homes: Homes = [
            (home.applied, home.blocks) for home in self.homes if home.applied.era and not home.is_damaged
        ]
        fork, broken = None, None
        try:
            begun = [signed for signed in self.plans if self.applied[plan_digest(signed.plan)]]
            self.checker.check_plans((signed.plan, self.joins[plan_digest(signed.plan)]) for signed in begun)
            self.checker.check_chains(homes)
        except ForkError as error:
            fork = str(error)
        lost = self.checker.lost(self.decided_ever, homes)
        counts = [
            self.checker.complete_statements(signed.plan, self.joins[plan_digest(signed.plan)]) for signed in complete
        ]
        if lost and all(found >= needed for found, needed in counts):
            broken = f"the decided block of height {lost[0]} was replaced, with K* complete statements"
        self._note_ends(complete)
        return Outcome(
            members=members,
            liars=len(self.liars),
            seed=seed,
            eras=max(home.applied.era for home in self.homes),
            complete=len(complete),
            carried=any(signed.plan.carried is not None for signed in complete),
            lost=bool(lost),
            fork=fork,
            broken=broken,
            occurred=self.occurred,
        )

    def _note_ends(self, complete: list[SignedPlan]) -> None:
        occurred = self.occurred
        for signed in self.plans:
            plan, began = signed.plan, self.applied[plan_digest(signed.plan)]
            going_on = {key for _, key in plan.members}
            can_begin = [home for home in self.homes if home.key.public_key in going_on]
            occurred["a complete plan was applied by a part only"] += 0 < len(began) < len(can_begin)
            occurred["a plan had agreements and stayed incomplete"] += (
                bool(self.joins[plan_digest(plan)]) and signed not in complete
            )
            if signed in complete:
                gone = [departure for departure in plan.departures if departure.node_key is None]
                occurred["a complete plan removed a member"] += bool(gone)
                occurred["a complete plan replaced a member"] += len(gone) < len(plan.departures)
                occurred["a complete plan carried a block"] += plan.carried is not None
                found, needed = self.checker.complete_statements(plan, self.joins[plan_digest(plan)])
                occurred["a complete plan had K* complete statements"] += found >= needed
                occurred["a complete plan had fewer than K* complete statements"] += found < needed
                height = plan.base + 1
                blocks = {home.block_at(height) for home in began if home.height >= height}
                occurred["a carried block was decided"] += plan.carried in blocks

    def _is_complete(self, signed: SignedPlan) -> bool:
        return ceremony.is_complete(signed.plan, self.joins[plan_digest(signed.plan)])


def _height_of(message: Message) -> Height:
    assert not isinstance(message, Status), "a status is of no height"
    return message.certificate.height if isinstance(message, Decided) else message.height


def run_ceremony(members: int, seed: int, *, liars: int = 0, absent: Absent = Absent.ANY) -> Outcome:
    """Runs one chain of events. Raises ViolationError where a home does what it may never do."""
    random = Random(f"{members} {liars} {absent.value} {seed}")
    world = World(members, random, liars=liars, absent=absent)
    world.crash_share = random.choice((0.0, CRASH_SHARE))
    try:
        _hold_ceremonies(world)
    except ViolationError as error:
        return dataclasses.replace(world.outcome(members, seed), fork=str(error))
    return world.outcome(members, seed)


def _hold_ceremonies(world: World) -> None:
    random = world.random
    _go_on(world, random.randint(CONSENSUS_STEPS // 2, 3 * CONSENSUS_STEPS))
    share = random.choice((0.0, 0.2, 0.5, 0.8))
    for home in world.homes:
        if random.random() < share:
            home.stop()
            home.lose(random.choice(LOSSES))
    for era in range(1, random.randint(1, ERAS_MAX) + 1):
        busy = random.choice((0.2, 0.4, 0.7))
        for _ in range(random.randint(CEREMONY_STEPS // 2, 2 * CEREMONY_STEPS)):
            if random.random() < busy:
                world.people_step(era)
            else:
                world.consensus_step()
        if random.random() < CONCLUDED_SHARE:
            world.conclude(era)
    _finish(world)


def _go_on(world: World, steps: int) -> None:
    for _ in range(steps):
        world.consensus_step()


def _finish(world: World) -> None:
    """Most homes begin what can be begun, and all go on."""
    for signed in world.plans:
        for home in world.homes:
            if world.random.random() < 0.7:
                home.apply(signed)
        _go_on(world, CONSENSUS_STEPS)
    _go_on(world, 3 * CONSENSUS_STEPS)


def run_ceremonies(members: int, seeds: range, *, liars: int = 0, absent: Absent = Absent.ANY) -> list[Outcome]:
    """Runs many; raises AssertionError at the first violation."""
    outcomes = []
    drop_logs()
    with keyed_hashes():
        for seed in seeds:
            outcome = run_ceremony(members, seed, liars=liars, absent=absent)
            assert outcome.violation is None, f"{members} members, {liars} liars, seed {seed}: {outcome.violation}"
            outcomes.append(outcome)
    return outcomes
