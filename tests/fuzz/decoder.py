"""What a decoder must do with any bytes: refuse them as documented, or read what is written back to the same."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

REFUSAL_LENGTH_MAX: Final = 4_000
"""Characters that a refusal may have: it is told to a person or written to a log, whatever the input's size."""

_FIGURES: Final = re.compile(r"[0-9a-fA-F]{8,}|[0-9]+|'[^']*'|\"[^\"]*\"|`[^`]*`|\[[^\]]*\]")
REASON_LENGTH_MAX: Final = 60


class Form(Enum):
    """How many encodings a value has."""

    CANONICAL = "canonical"
    """One: what was read is written back to the same bytes."""
    FREE = "free"
    """Several, such as JSON of people's own layout: what was read is written to bytes that read as the same value."""


@dataclass(frozen=True, kw_only=True)
class Decoder:
    """A production decoder, and what it is fuzzed with."""

    name: str
    read: Callable[[bytes], Any]
    write: Callable[[Any], bytes]
    """Of what `read` returned."""
    refusals: tuple[type[Exception], ...]
    """Documented; any other exception is a finding."""
    specimens: tuple[bytes, ...]
    form: Form = Form.CANONICAL
    is_text: bool = False
    kept: Callable[[bytes], bytes] = bytes
    """The part of an input that counts; where a torn end is cut off, what stands before it."""


def through(path: Path, read: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """Returns a reader of bytes that puts them into a file first."""

    def read_bytes(data: bytes) -> Any:
        path.write_bytes(data)
        return read(path)

    return read_bytes


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an input."""

    decoded: bool
    reason: str
    """Why it was refused, without figures; a kind of value where it decoded."""


class WrongError(AssertionError):
    """A decoder did something that it must not."""


def judge(decoder: Decoder, data: bytes) -> Verdict:
    """Decodes an input.

    Raises:
        WrongError: neither refused as documented nor read as something that is written back to the same.
    """
    try:
        value = decoder.read(data)
    except decoder.refusals as refused:
        message = str(refused)
        if len(message) > REFUSAL_LENGTH_MAX:
            raise WrongError(f"a refusal of {len(message)} characters: {message[:80]!r} ...") from None
        reason = f"{type(refused).__name__} {_FIGURES.sub('#', message[:400])}"
        return Verdict(decoded=False, reason=reason[:REASON_LENGTH_MAX])
    except Exception as error:
        raise WrongError(f"{type(error).__name__}: {str(error)[:200]}") from error
    try:
        _require_same(decoder, data, value)
    except WrongError:
        raise
    except Exception as error:
        raise WrongError(f"was read, and then: {type(error).__name__}: {str(error)[:200]}") from error
    return Verdict(decoded=True, reason=_shape(value))


def _require_same(decoder: Decoder, data: bytes, value: Any) -> None:
    written = decoder.write(value)
    if decoder.form is Form.CANONICAL:
        if written != decoder.kept(data):
            raise WrongError("another encoding of the same value was accepted")
    elif decoder.read(written) != value:
        raise WrongError("what was read is written to something else")


def _shape(value: Any) -> str:
    """Returns what kind of value it is: the names of records down to the second level."""
    names = getattr(value, "__struct_fields__", ())
    return " ".join([type(value).__name__, *(type(getattr(value, name)).__name__ for name in names)])
