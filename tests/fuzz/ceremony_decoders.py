"""Decoders of the files of a ceremony: those that people carry from home to home, and those that a home keeps."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from consensus.ceremony_records import SignedPlan
from consensus.codec import Record, encode
from node.errors import FileRefused
from node.home.era_files import EraFile, JoinFile, PlanFile, StatementFile, read_record
from tests.fuzz.decoder import Decoder, through
from tests.fuzz.specimens import encodings

FILES: Final[dict[str, type[Record]]] = {
    "statement-file": StatementFile,
    "plan-file": PlanFile,
    "join-file": JoinFile,
    "era-file": EraFile,
    "kept-plan": SignedPlan,
}
ROOTS: Final = tuple(FILES.values())
"""Every record in them has a specimen."""


def ceremony_decoders(directory: Path, random: Random) -> Iterator[Decoder]:
    """Yields them; files are written into `directory`, which is theirs alone."""
    for name, root in FILES.items():
        yield Decoder(
            name=name,
            read=through(directory / name, partial(read_record, expected=root)),
            write=encode,
            refusals=(FileRefused,),
            specimens=encodings(root, random),
        )
