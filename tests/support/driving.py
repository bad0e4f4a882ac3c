"""The production driver on a real ledger and sign state, in a world that the test holds."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from consensus.cryptography import SigningKey
from consensus.events import Instant
from consensus.evidence import Equivocation
from consensus.identifiers import Address
from consensus.member import KeyRing, Parameters
from consensus.membership import Membership
from consensus.messages import Message
from ledger.ledger import Ledger
from node.chain.application import LedgerApplication
from node.chain.applied import AppliedBlock
from node.chain.driver import Driver, DriverPorts
from node.chain.mempool import Mempool, MempoolLimits
from node.chain.transaction_pool import TransactionPool
from node.home.sign_state import SignStateStore


@dataclass
class World:
    """What a driver does to it."""

    sent: list[Message] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    evidence: list[Equivocation] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    on_send: Callable[[Message], None] = lambda _: None
    """Called with each message before it counts as sent."""

    verifying: list[Callable[[], None]] | None = None
    """Where what calls back after verifying requests waits; None: it is called at once."""

    def verify_ahead(self, then: Callable[[], None]) -> None:
        if self.verifying is None:
            then()
        else:
            self.verifying.append(then)

    def send(self, message: Message) -> None:
        self.on_send(message)
        self.sent.append(message)


def application_on(
    ledger: Ledger,
    own: Address,
    applied: Callable[[AppliedBlock], None] = lambda _: None,
    *,
    prove: Callable[[Membership, bytes], bytes] = lambda _members, _statement: b"",
) -> LedgerApplication:
    pool = TransactionPool(ledger=ledger, mempool=Mempool(limits=MempoolLimits()), monotonic_ms=lambda: 0)
    return LedgerApplication(own=own, prove=prove, ledger=ledger, pool=pool, applied=applied)


def drive(ledger: Ledger, sign_state: SignStateStore, key: SigningKey) -> tuple[Driver, World]:
    """Returns a driver, to which requests are verified at once, and what it does."""
    world, genesis = World(), ledger.genesis

    def now() -> Instant:
        return Instant(
            monotonic_ms=time.monotonic_ns() // 1_000_000, clock_ms=time.time_ns() // 1_000_000 - genesis.start_ms
        )

    ports = DriverPorts(
        now=now,
        send=lambda _, message: world.send(message),
        connected=frozenset,
        verify_ahead=lambda _, then: world.verify_ahead(then),
        evidence=world.evidence.append,
        failed=world.failures.append,
        refused=lambda reason, _: world.refused.append(reason),
        phase_ended=lambda _: None,
    )
    parameters = Parameters(slot_duration_ms=genesis.slot_duration_ms, attempt_max_ms=genesis.attempt_max_ms)
    keys = KeyRing(key)
    application = application_on(ledger, key.address, prove=keys.prove)
    driver = Driver(keys=keys, parameters=parameters, application=application, sign_state=sign_state, ports=ports)
    return driver, world
