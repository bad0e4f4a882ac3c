"""What a home keeps of ceremonies, in its folder `eras/`: plans with their statements, and the eras that it began.

| file | what |
|---|---|
| `DIGEST.plan` | a plan that this home agreed to or began, with all that it follows from |
| `NUMBER.era` | an era that this home began: why, and the block that is carried over |

Written once and synced, before the sign state that speaks of them. Files that people carry have the same form.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from consensus.ceremony_records import SignedMemberStatement, SignedPlan
from consensus.codec import DecodeError, Record, decode, encode
from consensus.era_plans import AppliedEra, EraProof, Join, plan_digest
from consensus.identifiers import PublicKey
from consensus.membership import Membership
from consensus.messages import DigestField
from consensus.plans import FIRST, Past
from contracts.genesis import Genesis, chain_id
from ledger.eras import BegunEra, parent_of
from ledger.side_files import sync_directory
from node.errors import FileRefused, NodeError
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.folder import Home

FILE_SIZE_BYTES_MAX: Final = 256 * 1024 * 1024
"""Statements of a quorum with four of the largest blocks each; as a rule some kilobytes."""

PLANS_MAX: Final = 64
"""Plans that a file brings along: every ceremony since genesis."""

Plans = Annotated[tuple[SignedPlan, ...], Meta(max_length=PLANS_MAX)]
F = TypeVar("F", bound=Record)


class StatementFile(Record, frozen=True, kw_only=True, tag="p2pnode-statement-1"):
    """What `p2pnode recover export` writes."""

    statement: SignedMemberStatement
    plans: Plans
    """That the statement names, and those that they follow; by era."""


class PlanFile(Record, frozen=True, kw_only=True, tag="p2pnode-plan-1"):
    """What `p2pnode recover plan` writes."""

    plans: Annotated[tuple[SignedPlan, ...], Meta(min_length=1, max_length=PLANS_MAX)]
    """The plan, behind those of earlier eras."""


class JoinFile(Record, frozen=True, kw_only=True, tag="p2pnode-join-1"):
    """What `p2pnode recover join` writes."""

    plan: DigestField
    join: Join


class EraFile(Record, frozen=True, kw_only=True, tag="p2pnode-era-1"):
    """An era that a home began."""

    proof: EraProof
    carried: bytes | None


# --- files that people carry --------------------------------------------------------------------------------


def read_record(path: Path, expected: type[F]) -> F:
    """Returns what a file holds.

    Raises:
        FileRefused: it cannot be read, or is something else.
    """
    try:
        return decode(
            read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX), expected, size_bytes_max=FILE_SIZE_BYTES_MAX
        )
    except OSError as error:
        raise FileRefused(f"{path}: cannot be read: {error.strerror}") from None
    except (FileTooLargeError, DecodeError) as error:
        kind = expected.__struct_config__.tag
        raise FileRefused(f"{path}: is no {kind} file of this version: {error}") from None


def write_record(path: Path, record: Record) -> None:
    """Writes a new file, synced; a half-written one never has its name.

    Raises:
        NodeError: the disk does not take it.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(encode(record))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        raise NodeError(f"{path}: cannot be written: {error.strerror}") from None


# --- the home's folder -----------------------------------------------------------------------------------------


def keep_plans(home: Home, plans: Sequence[SignedPlan]) -> None:
    """Keeps plans, by their digest, durably."""
    home.eras.mkdir(mode=0o700, exist_ok=True)
    for signed in plans:
        path = home.eras / f"{plan_digest(signed.plan).hex()}.plan"
        if not path.exists():
            write_record(path, signed)


def kept_plans(home: Home) -> list[SignedPlan]:
    """Returns the plans that a home keeps, by era.

    Raises:
        FileRefused: one cannot be read.
    """
    found = [read_record(path, SignedPlan) for path in sorted(home.eras.glob("*.plan"))]
    return sorted(found, key=lambda signed: (signed.plan.era, plan_digest(signed.plan)))


def keep_era(home: Home, era: BegunEra) -> None:
    """Keeps why an era began, durably."""
    home.eras.mkdir(mode=0o700, exist_ok=True)
    path = home.eras / f"{era.start.number}.era"
    write_record(path, EraFile(proof=era.proof, carried=era.carried))


def begun_eras(home: Home) -> list[BegunEra]:
    """Returns the eras that a home began, each following the one before it.

    Raises:
        NodeError: a file cannot be read, or one is missing between others.
    """
    files = [read_record(path, EraFile) for path in home.eras.glob("*.era")]
    begun = sorted(
        (BegunEra(proof=file.proof, carried=file.carried) for file in files), key=lambda one: one.start.number
    )
    follows = FIRST
    for one in begun:
        plan = one.proof.plan
        if plan.follows != follows:
            raise NodeError(
                f"{home.eras}: era {plan.era} follows era {plan.follows.era}, whose file is missing or another's; "
                "put the folder back as it was, or apply the plans again"
            )
        follows = AppliedEra(era=plan.era, plan=plan_digest(plan))
    return begun


def past_of(genesis: Genesis, plans: Sequence[SignedPlan], authority: PublicKey) -> Past:
    """Returns all configurations that statements may name: genesis' and those of plans, checked one after another.

    Raises:
        FileRefused: a plan does not follow from its statements.
    """
    members = Membership.of_keys([member.node_key for member in genesis.members])
    past = Past(chain_id(genesis), lambda _: members, parent_of=parent_of)
    for signed in sorted(plans, key=lambda one: one.plan.era):
        applied = AppliedEra(era=signed.plan.era, plan=plan_digest(signed.plan))
        if past.knows(applied):
            continue
        fault = past.add(signed, authority)
        if fault is not None:
            raise FileRefused(f"the plan {plan_digest(signed.plan).hex()} of era {signed.plan.era}: {fault.value}")
    return past
