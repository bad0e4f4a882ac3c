"""Eras: what happens between two operators' ceremonies, and the domain that every signature of an era covers.

When more members lost what they signed than the protocol can bear, people stop all of it and say: nothing older
counts (`ceremony`). From there on another era runs, above the height that they agreed on, its base. A statement names
the domain of its height in the place of the chain: so nothing that was signed in one era counts in another.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Final

from msgspec import Meta

from consensus.codec import Record, encode
from consensus.cryptography import HashKind, digest
from consensus.identifiers import DIGEST_SIZE_BYTES, GENESIS_HEIGHT, Digest, Domain, EraNumber, Height

FIRST_ERA: Final = EraNumber(0)
"""That of a chain that never needed a ceremony."""

ERAS_MAX: Final = 2**16
"""Far more ceremonies than anybody will hold."""

ERAS_REMEMBERED: Final = 16
"""Whose domains are at hand: members live in one, and may hear of its neighbours."""

EraField = Annotated[EraNumber, Meta(ge=0, le=ERAS_MAX)]


class EraStart(Record, frozen=True, kw_only=True):
    """A ceremony's outcome, as long as the chain remembers it."""

    number: Annotated[EraNumber, Meta(ge=1, le=ERAS_MAX)]
    plan: Annotated[Digest, Meta(min_length=DIGEST_SIZE_BYTES, max_length=DIGEST_SIZE_BYTES)]
    """Digest of the plan that began it."""
    base: Annotated[Height, Meta(ge=0)]
    """Last height of the eras before it."""
    carried: Annotated[Digest, Meta(min_length=DIGEST_SIZE_BYTES, max_length=DIGEST_SIZE_BYTES)] | None = None
    """The block that the height above the base must be; None: any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Era:
    """The era that a height belongs to."""

    number: EraNumber
    plan: Digest | None
    """That began it; None of the first era."""
    domain: Domain
    """What every statement of its heights names."""
    base: Height
    """Its heights lie above; 0 in the first era."""
    carried: Digest | None = None
    """The block that the height above the base must be, the same bytes as an earlier era made it; None: any."""


@dataclass(frozen=True, slots=True)
class Eras:
    """All eras that a member knows of, for every height. Another one begins only while it is stopped."""

    chain: Digest
    """Hash of genesis."""
    starts: tuple[EraStart, ...] = ()
    """Of all eras but the first, in their order; a later one has no lower base."""

    def at(self, height: Height) -> Era:
        """Returns the era of a height."""
        start = next((start for start in reversed(self.starts) if height > start.base), None)
        return first_era(self.chain) if start is None else era_of(self.chain, start)

    @property
    def newest(self) -> Era:
        """The era that members take part in."""
        return era_of(self.chain, self.starts[-1]) if self.starts else first_era(self.chain)


def first_era(chain: Digest) -> Era:
    """Returns the era that begins with genesis; its domain is the chain's own name."""
    return Era(number=FIRST_ERA, plan=None, domain=Domain(chain), base=GENESIS_HEIGHT)


@lru_cache(ERAS_REMEMBERED)
def era_of(chain: Digest, start: EraStart) -> Era:
    """Returns the era that a ceremony began; asked for with every message."""
    domain = Domain(digest(HashKind.ERA, encode((chain, start.number, start.plan))))
    return Era(number=start.number, plan=start.plan, domain=domain, base=start.base, carried=start.carried)
