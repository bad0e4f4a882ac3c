"""Ceremonies by chance: the production replica and the production steps of `consensus.ceremony`, on few homes.

A run lets the members decide a few heights, makes them lose sign states, records and blocks, more than F of them at
once as well, and lets people export, plan, join, apply and release in any order: late, again, in part, by two plans
at once, for a second era before the first one is applied. At most F members lie: they vote for and commit to every
block in every era, agree to every plan, and state what suits them, as far as it can be proven.

What must hold in the end, of all honest homes that took part in a later era:
- no two of them have different blocks at a height;
- what any honest home ever decided is in all their chains, as far as they go, if every complete plan had K* complete
  statements of who agreed to it.
"""

from collections import defaultdict
from dataclasses import dataclass
from random import Random
from typing import Final

from msgspec.structs import replace

from consensus import ceremony, plans
from consensus.ceremony_records import MemberStatement, SignedMemberStatement, SignedPlan
from consensus.codec import encode
from consensus.era_plans import AppliedEra, Departure, Join, join_bytes, plan_digest
from consensus.events import Decision, JoinedPlan, PreparedBlock
from consensus.identifiers import Address, Digest, EraNumber, Height, Slot
from consensus.membership import Membership, leader
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
from consensus.quorum import fault_bound, quorum
from tests.simulation.ceremony_home import CHAIN, TAU_MS, Home, block_of, parent_of
from tests.simulation.signing import KeyedHashKey, keyed_hash_keys, keyed_hashes

DEEDS: Final = ("state", "plan", "join", "apply", "release", "lose")
WEIGHTS: Final = (30, 6, 30, 20, 1, 1)
LOSSES: Final = ("sign state", "records", "both", "blocks")
CONSENSUS_STEPS: Final = 60
CEREMONY_STEPS: Final = 90
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
        while leader(members, height, slot) != self.key.address:
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    began: int
    """Honest homes in a later era."""
    complete: int
    """Complete plans."""
    second: bool
    """A home reached era 2."""
    carried: bool
    lost: bool
    """A block that somebody decided was replaced, with fewer than K* complete statements."""
    broken: str | None
    """Why the run is a violation."""


class World:
    """All homes, what was said, what people carry from one to another."""

    def __init__(self, members: int, random: Random, *, liars: int = 0) -> None:
        self.random = random
        self.now_ms = TAU_MS
        keys = keyed_hash_keys(members)
        self.authority = KeyedHashKey(b"authority")
        self.genesis = Membership.of_keys([key.public_key for key in keys])
        self.past = plans.Past(CHAIN, lambda _: self.genesis, parent_of=parent_of)
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
        self.absent = self._draw_absent(members)
        for home in self.homes:
            home.run()

    def _draw_absent(self, members: int) -> list[Home]:
        most = members - quorum(members)
        count = self.random.randint(0, most) if self.random.random() < 0.5 else 0
        return self.random.sample(self.homes, min(count, len(self.homes)))

    # --- what homes need of each other ----------------------------------------------------------------------

    def pool_of(self, applied: AppliedEra, height: int) -> list[tuple[Address, Message]]:
        era = self.past.eras(applied).at(Height(height))
        return self.pool[era.domain, height]

    def say(self, home: Home, message: Message) -> None:
        if isinstance(message, Status):
            return
        self.pool_of(home.applied, _height_of(message)).append((home.key.address, message))
        for liar in self.liars:
            liar.on_said(home.applied, message)
        if isinstance(message, Commit) and home.prepared is not None:
            self.prepared_ever.append(home.prepared)

    def note_decided(self, decision: Decision) -> None:
        self.decided_ever[decision.height].add(decision.block)

    def answer(self, member: Address, question: HeightQuestion) -> HeightAnswer | None:
        for home in self.homes:
            if home.key.address == member and home.replica is not None:
                return home.answer(question)
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
                home.apply(self._some_plan())
            case "release":
                home.release()
            case "lose":
                home.lose(self.random.choice(LOSSES))

    def _state(self, home: Home, era: int) -> None:
        if home.sign_state.standing.sealed_below != era or self.random.random() < 0.1:
            home.state(era)
        for liar in self.liars:
            if self.random.random() < 0.3:
                liar.state(era)

    def _some_plan(self) -> SignedPlan:
        """People mostly agree on one."""
        return self.plans[-1] if self.random.random() < 0.7 else self.random.choice(self.plans)

    def _join(self, home: Home) -> None:
        if self.plans:
            signed = self._some_plan()
            if plans.plan_fault(signed, self.past, self.authority.public_key) is None:
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
        signed = replace(made, authority=self.authority.sign(encode(made.plan)))
        fault = self.past.add(signed, self.authority.public_key)
        assert fault is None, f"a plan that was made is refused: {fault}"
        if all(other.plan != signed.plan for other in self.plans):
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
            if address in stated or drawn < 0.4:
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

    def outcome(self) -> Outcome:
        began = [home for home in self.homes if home.applied.era > 0]
        complete = [signed for signed in self.plans if self._is_complete(signed)]
        is_kept = all(
            ceremony.keeps_all_decided(signed.plan, self.joins[plan_digest(signed.plan)]) for signed in complete
        )
        broken, lost = _forked(began), False
        for home in began:
            for height in range(1, home.height + 1):
                lost = lost or bool(self.decided_ever[height] - {home.block_at(height)})
        if broken is None and lost and is_kept:
            broken = "a decided block was replaced, with K* complete statements"
        return Outcome(
            began=len(began),
            complete=len(complete),
            second=any(home.applied.era > 1 for home in began),
            carried=any(signed.plan.carried is not None for signed in self.plans),
            lost=lost,
            broken=broken,
        )

    def _is_complete(self, signed: SignedPlan) -> bool:
        return ceremony.is_complete(signed.plan, self.joins[plan_digest(signed.plan)])


def _forked(homes: list[Home]) -> str | None:
    for number, home in enumerate(homes):
        for other in homes[:number]:
            for height in range(1, min(home.height, other.height) + 1):
                if home.block_at(height) != other.block_at(height):
                    return f"two blocks at height {height} among those who took part"
    return None


def _height_of(message: Message) -> Height:
    assert not isinstance(message, Status), "a status is of no height"
    return message.certificate.height if isinstance(message, Decided) else message.height


def run_ceremony(members: int, seed: int, *, liars: int = 0) -> Outcome:
    """Runs one chain of events."""
    random = Random(f"{members} {liars} {seed}")
    world = World(members, random, liars=liars)
    _go_on(world, random.randint(CONSENSUS_STEPS // 2, 3 * CONSENSUS_STEPS))
    share = random.choice((0.0, 0.2, 0.5, 0.8))
    for home in world.homes:
        if random.random() < share:
            home.lose(random.choice(LOSSES))
    for era in range(1, random.randint(1, ERAS_MAX) + 1):
        busy = random.choice((0.2, 0.4, 0.7))
        for _ in range(random.randint(CEREMONY_STEPS // 2, 2 * CEREMONY_STEPS)):
            if random.random() < busy:
                world.people_step(era)
            else:
                world.consensus_step()
    _finish(world)
    return world.outcome()


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


def run_ceremonies(members: int, seeds: range, *, liars: int = 0) -> list[Outcome]:
    """Runs many; raises AssertionError at the first violation."""
    outcomes = []
    with keyed_hashes():
        for seed in seeds:
            outcome = run_ceremony(members, seed, liars=liars)
            assert outcome.broken is None, f"{members} members, {liars} liars, seed {seed}: {outcome.broken}"
            outcomes.append(outcome)
    return outcomes
