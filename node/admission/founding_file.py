"""A founding on disk: JSON that people can read, compare and send to each other, and that converts back exactly."""

import json
from pathlib import Path
from typing import Final, TypeVar

from consensus.codec import Record, encode
from consensus.rendering import render, unrender
from contracts.genesis import chain_id
from ledger.side_files import write_whole
from node.admission.founding import Founding, FoundingSignature, founding_digest
from node.errors import FoundingError
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.names.card import Card, read_card

R = TypeVar("R", bound=Record)

FOUNDING_NAME: Final = "founding.json"

FILE_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
"""256 homes with their certificates take about 1 MB."""

SHOWN_LENGTH_MAX: Final = 200
"""Of what is wrong in a file of any size."""

_CERTIFICATE: Final = b"-----BEGIN CERTIFICATE-----"
_CARD: Final = b'"p2pnode-2-card"'

KIND_PLACE_MAX: Final = 64
"""Of a record's file: it begins with its kind."""


def read_founding(path: Path) -> Founding:
    """Returns the founding in a file; what it says is not checked yet.

    Raises:
        FoundingError: it cannot be read, or is none.
    """
    founding, fields = _parse(path, _content(path), Founding)
    if fields != json.loads(render_founding(founding)):
        raise FoundingError(
            f"{path}: its digest does not follow from its content: it was changed by hand, or damaged"
        )
    return founding


def write_founding(path: Path, founding: Founding) -> None:
    """Writes a founding in the place of an earlier one."""
    write_whole(path, render_founding(founding).encode())


def render_founding(founding: Founding) -> str:
    """Returns a founding as JSON, its digest and the chain's name added."""
    names = {"founding": founding_digest(founding).hex(), "chain": chain_id(founding.genesis).hex()}
    return json.dumps({**names, **render(founding)}, indent=2) + "\n"


def read_from_home(path: Path) -> str | Card | FoundingSignature:
    """Returns what a home sent: its certificate, as PEM text that is not checked yet, its card, or its signature.

    Raises:
        FoundingError: it cannot be read, or is none of them.
        AddressBookError: it is a card, and was changed.
    """
    content = _content(path)
    if content.startswith(_CERTIFICATE) and content.isascii():
        return content.decode("ascii")
    if _CARD in content[:KIND_PLACE_MAX]:
        return read_card(path)
    signature, fields = _parse(path, content, FoundingSignature)
    if fields != render(signature):
        raise FoundingError(f"{path}: is not a home's signature under a founding")
    return signature


def write_signature(path: Path, signature: FoundingSignature) -> None:
    """Writes a signature in the place of an earlier one."""
    write_whole(path, (json.dumps(render(signature), indent=2) + "\n").encode())


def _content(path: Path) -> bytes:
    try:
        return read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX)
    except OSError as error:
        raise FoundingError(f"{path}: cannot be read: {error.strerror}") from None
    except FileTooLargeError as error:
        raise FoundingError(f"{path}: {error}, which no founding is") from None


def _parse(path: Path, content: bytes, record: type[R]) -> tuple[R, object]:
    try:
        fields = json.loads(content)
        made = unrender(fields, record)
        encode(made)  # JSON can escape halves of characters, which no text has
    except (ValueError, OverflowError, RecursionError) as error:
        what = "founding" if record is Founding else "certificate or card, and no home's signature under a founding"
        raise FoundingError(f"{path}: is no {what}: {str(error)[:SHOWN_LENGTH_MAX]}") from None
    return made, fields
