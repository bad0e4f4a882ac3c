"""What a home keeps of ceremonies, in its folder `eras/`: plans with their statements, and the eras that it began.

| file | what |
|---|---|
| `DIGEST.plan` | a plan that this home agreed to or began, with all that it follows from |
| `NUMBER.era` | an era that this home began: why, and the block that is carried over |

Written once and synced, before the sign state that speaks of them. Files that people carry have the same form.

None of them is a symbolic link, neither read nor written: what a name stands for must not change between two looks.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, TypeVar

from msgspec import Meta

from consensus.ceremony_records import Changes, SignedMemberStatement, SignedPlan
from consensus.codec import DecodeError, Malformed, Record, decode, encode
from consensus.era_plans import EraProof, Join, plan_digest
from consensus.messages import DigestField
from consensus.past import FIRST
from ledger.eras import BegunEra
from ledger.side_files import write_whole
from node.errors import FileRefused, NodeError
from node.home.bounded_file import FileTooLargeError, open_bounded, read_to_end
from node.home.folder import Home
from node.home.record_fields import named_fields

FILE_SIZE_BYTES_MAX: Final = 64 * 1024 * 1024
"""Statements of 13 members with four full blocks of 1 MiB each, and room; as a rule a plan has some kilobytes."""

PLANS_MAX: Final = 64
"""Plans that a file brings along: every ceremony since genesis."""

Plans = Annotated[tuple[SignedPlan, ...], Meta(max_length=PLANS_MAX)]
F = TypeVar("F", bound=Record)


class StatementFile(Record, frozen=True, kw_only=True, tag="p2pnode-statement-1"):
    """What `p2pnode recover export` writes."""

    statement: SignedMemberStatement
    changes: Changes
    """Decided headers by which the members changed in the era that its author takes part in, up to its tip."""
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


KINDS: Final = {
    "p2pnode-statement-1": "a statement (of `recover export`)",
    "p2pnode-plan-1": "a plan (of `recover plan`)",
    "p2pnode-join-1": "an agreement (of `recover join`)",
    "p2pnode-era-1": "a begun era (of `recover apply`)",
}
"""What the files are, by what they begin with."""

KIND_SIZE_BYTES_MAX: Final = 64


# --- files that people carry --------------------------------------------------------------------------------


def read_record(path: Path, expected: type[F]) -> F:
    """Returns what a file holds. Its size and its kind are looked at before it is read.

    Raises:
        FileRefused: it cannot be read, or is something else; names the field, and what was expected.
    """
    try:
        with open_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX, follows_links=False) as file:
            _require_kind(path, file, expected)
            content = read_to_end(file, size_bytes_max=FILE_SIZE_BYTES_MAX)
        return decode(content, expected, size_bytes_max=FILE_SIZE_BYTES_MAX)
    except OSError as error:
        raise FileRefused(f"{path}: cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise FileRefused(f"{path}: {error}, too large for {kind_of(expected)}") from None
    except DecodeError as error:
        raise FileRefused(f"{path}: {_what_is_wrong(error, expected)}") from None


def kind_of(expected: type[Record]) -> str:
    """Returns how people call a kind of file."""
    return KINDS.get(_tag(expected), "a file of this folder")


def _tag(expected: type[Record]) -> str:
    tag = expected.__struct_config__.tag
    return tag if isinstance(tag, str) else ""


def _require_kind(path: Path, file: io.BufferedReader, expected: type[Record]) -> None:
    wanted, found = _tag(expected), _kind_at(file)
    if wanted and found != wanted:
        is_what = KINDS.get(found, "none of this version")
        raise FileRefused(f"{path}: kind: expected {KINDS[wanted]}: {wanted}, and it is {is_what}")


def _kind_at(file: io.BufferedReader) -> str:
    """Returns the kind that a file says to be, empty if it says none; a record begins with an array, then its tag."""
    head = file.peek(KIND_SIZE_BYTES_MAX)[1:KIND_SIZE_BYTES_MAX]
    return next((tag for tag in KINDS if head.startswith(encode(tag))), "")


def _what_is_wrong(error: DecodeError, expected: type[Record]) -> str:
    detail = str(error).removeprefix(f"{error.reason.value}: ")
    match error.reason:
        case Malformed.NOT_MESSAGEPACK:
            return f"the file as a whole: it is cut off, or was changed on its way ({detail.rstrip('.')})"
        case Malformed.WRONG_TYPE:
            return named_fields(detail, expected)
        case _:
            return f"the file as a whole: {detail}"


def require_output(path: Path, kind: type[Record]) -> None:
    """Says before anything is changed that a file can be written there: nothing stands there yet, or an earlier file
    of the same kind, which the new one replaces.

    Raises:
        NodeError: it cannot; says why.
    """
    if path.is_symlink():
        raise NodeError(f"--output {path}: is a symbolic link: name the file itself")
    if path.exists():
        _require_earlier(path, kind)
    elif not path.parent.is_dir():
        raise NodeError(f"--output {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise NodeError(f"--output {path}: the folder {path.parent} may not be written")


def _require_earlier(path: Path, kind: type[Record]) -> None:
    try:
        with open_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX, follows_links=False) as file:
            is_same = _kind_at(file) == _tag(kind)
    except (OSError, FileTooLargeError):
        is_same = False
    if not is_same:
        raise NodeError(f"--output {path}: something else than {kind_of(kind)} is there, and is not replaced")


def write_record(path: Path, record: Record) -> None:
    """Writes a file, synced, in the place of an earlier one; a half-written one never has its name, and none is left.

    Raises:
        NodeError: the disk does not take it.
    """
    content = encode(record)
    if len(content) > FILE_SIZE_BYTES_MAX:
        raise NodeError(f"{path}: would have {len(content)} bytes, and at most {FILE_SIZE_BYTES_MAX} are read")
    try:
        write_whole(path, content)
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
    path = home.eras / f"{era.number}.era"
    write_record(path, EraFile(proof=era.proof, carried=era.carried))


def begun_eras(home: Home) -> list[BegunEra]:
    """Returns the eras that a home began, each following the one before it.

    Raises:
        NodeError: a file cannot be read, or one is missing between others.
    """
    files = [read_record(path, EraFile) for path in home.eras.glob("*.era")]
    begun = sorted((BegunEra(proof=file.proof, carried=file.carried) for file in files), key=lambda one: one.number)
    follows = FIRST
    for one in begun:
        plan = one.proof.plan
        if plan.follows != follows:
            raise NodeError(
                f"{home.eras}: era {plan.era} follows era {plan.follows.era}, whose file is missing or another's; "
                "put the folder back as it was, or apply the plans again"
            )
        follows = plan.applied
    return begun
