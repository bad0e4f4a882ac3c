"""Records as JSON files that people can read, compare and send to each other, and that convert back exactly."""

import json
from pathlib import Path
from typing import Final, TypeVar

from consensus.codec import Record, encode
from consensus.rendering import render, unrender
from node.errors import NodeError
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.record_fields import named_fields

R = TypeVar("R", bound=Record)

SHOWN_LENGTH_MAX: Final = 200
"""Of what is wrong in a file of any size."""


def json_of(record: Record) -> bytes:
    """Returns the content of a record's file."""
    return (json.dumps(render(record), indent=2) + "\n").encode("ascii")


def read_json_record(path: Path, record: type[R], *, what: str, size_bytes_max: int, refused: type[NodeError]) -> R:
    """Returns the record in a file; what it says is not checked yet.

    Args:
        path: the file.
        record: its type.
        what: how people call such a file.
        size_bytes_max: the most that it may have.
        refused: what is raised.

    Raises:
        NodeError: of the type `refused`: it cannot be read, is too large, or is not what is written for a record.
    """
    try:
        fields = json.loads(read_bounded(path, size_bytes_max=size_bytes_max))
        made = unrender(fields, record)
        encode(made)  # JSON can escape halves of characters, which no text has
    except OSError as error:
        raise refused(f"{path}: cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise refused(f"{path}: {error}, which no {what} is") from None
    except (ValueError, OverflowError, RecursionError) as error:
        said = named_fields(str(error), record)
        raise refused(f"{path}: is no {what}: {said[:SHOWN_LENGTH_MAX]}") from None
    if fields != render(made):
        raise refused(f"{path}: is no {what}: it was changed by hand, or damaged")
    return made
