"""State keys as people write them, such as `account:<hex>` or `deficit:<hex>:2016-06-01T00:00:00Z`.

| text | record |
|---|---|
| `account:ADDRESS` | wallet |
| `activity:ADDRESS` | what the chain saw of a member |
| `agenda:PLACE` | place in the heap of what happens by itself at a slot |
| `applicant:ADDRESS` | what a home asked for that wants to join |
| `debt:ADDRESS` | what a seller owes the grid account |
| `deficit:ADDRESS:INTERVAL` | energy that a member lacked |
| `first-proof:ADDRESS` | first proof that a member contradicted itself |
| `interval:INTERVAL` | decided readings of an interval |
| `agenda`, `applications`, `eras`, `last-block`, `last-expiry` | singletons |
| `member-queue`, `members`, `rules`, `totals` | singletons |
| `member:ADDRESS` | registration of a member |
| `misconduct:ID` | proven misconduct of a member |
| `offer:ADDRESS:COUNTER` | used offer of a seller |
| `office:ADDRESS` | account that is no member's, with its present key |
| `packet:ID` | surplus energy of an interval |
| `pair:ADDRESS:ADDRESS:INTERVAL` | seller and buyer that were rewarded for an interval |
| `promises:ADDRESS:INTERVAL` | pending forward trades of a member in a delivery window |
| `proposal:ADDRESS` | last proposal of a member |
| `reading:ADDRESS:INTERVAL` | a meter's reading |
| `score:ADDRESS` | quality of transaction |
| `trade:ID` | contract that executed |
| `used-key:KEY` | whose a public key is or was |
| `validity:ADDRESS` | until when the authority vouches for a member |

ADDRESS, ID and KEY are 64 hexadecimal digits, INTERVAL is the interval's start in ISO 8601 with Z or an offset.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from consensus.identifiers import DIGEST_SIZE_BYTES
from contracts.state import (
    AGENDA_KEY,
    APPLICATIONS_KEY,
    ATTENDANCE_KEY,
    ERAS_KEY,
    HEIGHT_MARKS_KEY,
    LAST_BLOCK_KEY,
    LAST_EXPIRY_KEY,
    MEMBER_LIST_KEY,
    MEMBER_QUEUE_KEY,
    RANDOMNESS_KEY,
    RULES_KEY,
    TOTALS_KEY,
    StateKey,
    Table,
)
from contracts.transactions import COUNTER_MAX
from ledger.errors import StateKeyRefused

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NUMBER_SIZE_BYTES: Final = 8

TEXT_LENGTH_MAX: Final = 300
"""The longest key, two addresses and a time with all its digits, takes about 170 characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One part of a key between colons."""

    size_bytes: int
    read: Callable[[str], bytes]
    """Raises ValueError."""
    show: Callable[[bytes], str]


def _read_hash(text: str) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != DIGEST_SIZE_BYTES or len(text) != 2 * DIGEST_SIZE_BYTES:
        raise ValueError(f"{text!r} is not {2 * DIGEST_SIZE_BYTES} hexadecimal digits")
    return value


def _read_number(text: str) -> bytes:
    if not (text.isascii() and text.isdigit() and int(text) <= COUNTER_MAX):
        raise ValueError(f"{text!r} is not a whole number from 0 to {COUNTER_MAX}")
    return int(text).to_bytes(NUMBER_SIZE_BYTES, "big")


def _show_number(value: bytes) -> str:
    return str(int.from_bytes(value, "big"))


def _read_time(text: str) -> bytes:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has neither Z nor an offset")
    if moment < EPOCH:
        raise ValueError(f"{text!r} is before 1970")
    return ((moment.astimezone(UTC) - EPOCH) // timedelta(milliseconds=1)).to_bytes(NUMBER_SIZE_BYTES, "big")


def _show_time(value: bytes) -> str:
    return interval_text(int.from_bytes(value, "big"))


def interval_text(start_ms: int) -> str:
    """Returns an interval's start (milliseconds since the epoch) in ISO 8601 with Z."""
    moment = EPOCH + timedelta(milliseconds=start_ms)
    precision = "milliseconds" if start_ms % 1000 else "seconds"
    return moment.isoformat(timespec=precision).replace("+00:00", "Z")


_HASH = _Part(size_bytes=DIGEST_SIZE_BYTES, read=_read_hash, show=bytes.hex)
_NUMBER = _Part(size_bytes=NUMBER_SIZE_BYTES, read=_read_number, show=_show_number)
_TIME = _Part(size_bytes=NUMBER_SIZE_BYTES, read=_read_time, show=_show_time)

_TABLES: Final[Mapping[str, tuple[Table, tuple[_Part, ...]]]] = {
    "account": (Table.ACCOUNT, (_HASH,)),
    "activity": (Table.ACTIVITY, (_HASH,)),
    "agenda": (Table.AGENDA, (_NUMBER,)),
    "applicant": (Table.APPLICANT, (_HASH,)),
    "debt": (Table.DEBT, (_HASH,)),
    "deficit": (Table.DEFICIT, (_HASH, _TIME)),
    "first-proof": (Table.FIRST_PROOF, (_HASH,)),
    "interval": (Table.INTERVAL, (_TIME,)),
    "member": (Table.MEMBER, (_HASH,)),
    "misconduct": (Table.MISCONDUCT, (_HASH,)),
    "offer": (Table.OFFER, (_HASH, _NUMBER)),
    "office": (Table.OFFICE, (_HASH,)),
    "packet": (Table.PACKET, (_HASH,)),
    "pair": (Table.REWARDED_PAIR, (_HASH, _HASH, _TIME)),
    "promises": (Table.PROMISES, (_HASH, _TIME)),
    "proposal": (Table.PROPOSAL, (_HASH,)),
    "reading": (Table.READING, (_HASH, _TIME)),
    "score": (Table.SCORE, (_HASH,)),
    "trade": (Table.TRADE, (_HASH,)),
    "used-key": (Table.USED_KEY, (_HASH,)),
    "validity": (Table.VALIDITY, (_HASH,)),
}

_SINGLETONS: Final[Mapping[str, StateKey]] = {
    "agenda": AGENDA_KEY,
    "applications": APPLICATIONS_KEY,
    "attendance": ATTENDANCE_KEY,
    "eras": ERAS_KEY,
    "height-marks": HEIGHT_MARKS_KEY,
    "last-block": LAST_BLOCK_KEY,
    "last-expiry": LAST_EXPIRY_KEY,
    "member-queue": MEMBER_QUEUE_KEY,
    "members": MEMBER_LIST_KEY,
    "randomness": RANDOMNESS_KEY,
    "rules": RULES_KEY,
    "totals": TOTALS_KEY,
}


def parse_state_key(text: str) -> StateKey:
    """Returns the state key that a text names.

    Raises:
        StateKeyRefused: it names none, and why.
    """
    if len(text) > TEXT_LENGTH_MAX:
        raise StateKeyRefused(f"a key has at most {TEXT_LENGTH_MAX} characters, not {len(text)}")
    singleton = _SINGLETONS.get(text)
    if singleton is not None:
        return singleton
    name, _, rest = text.partition(":")
    if name not in _TABLES:
        known = ", ".join(sorted({*_TABLES, *_SINGLETONS}))
        raise StateKeyRefused(f"{name!r} is no table of the state; there are {known}")
    table, parts = _TABLES[name]
    # only the last part, a time, may itself contain colons
    texts = rest.split(":", len(parts) - 1)
    if len(texts) != len(parts):
        raise StateKeyRefused(f"{text!r} has {len(texts)} of the {len(parts)} parts behind {name!r}")
    try:
        return StateKey(table.value + b"".join(part.read(value) for part, value in zip(parts, texts, strict=True)))
    except (ValueError, OverflowError) as error:
        raise StateKeyRefused(f"{text!r}: {error}") from None


def state_key_text(key: StateKey) -> str:
    """Returns the text that `parse_state_key` reads as `key`, which the state may have."""
    for name, singleton in _SINGLETONS.items():
        if key == singleton:
            return name
    for name, (table, parts) in _TABLES.items():
        if key.startswith(table.value):
            texts, rest = [name], key[1:]
            for part in parts:
                texts.append(part.show(rest[: part.size_bytes]))
                rest = rest[part.size_bytes :]
            assert not rest, f"{key.hex()} is too long for its table"
            return ":".join(texts)
    raise AssertionError(f"{key.hex()} belongs to no table")
