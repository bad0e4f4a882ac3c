"""The household's meter: measures its hours from the readings file and signs each one's net energy once.

Neighbours see the net and a commitment to the two gross values. The salts of the commitments stay in the home,
so that the owner can open one later; they are durable before the reading leaves the node, and a reading that has
to be signed again keeps its salt, so that it is the same reading.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from consensus.codec import encode
from consensus.cryptography import SigningKey
from consensus.identifiers import Address, Digest
from contracts.transactions import PublishReading, Reading, gross_commitment
from contracts.units import Milliseconds, WattHours
from node.home.append_log import AppendLogError, Entry, Journal, require_same
from node.meter.readings_file import GrossReading, Readings

SALT_SIZE_BYTES: Final = 32

SURPLUS_SOURCE: Final = "solar"
"""Source of a surplus; the readings file knows no other generation."""
NO_SURPLUS_SOURCE: Final = "grid"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterIdentity:
    """Whose readings a meter signs, and for which chain."""

    key: SigningKey
    """The meter key registered for the member."""
    member: Address
    chain: Digest


class Meter:
    """The hours of one household."""

    def __init__(
        self,
        *,
        identity: MeterIdentity,
        hours: Mapping[Milliseconds, GrossReading],
        salts: Journal,
        new_salt: Callable[[], bytes] = lambda: secrets.token_bytes(SALT_SIZE_BYTES),
    ) -> None:
        """Takes what is measured and the journal of salts used so far.

        Raises:
            AppendLogError: the journal holds something else.
        """
        self._identity = identity
        self._hours = hours
        self._journal = salts
        self._new_salt = new_salt
        self._salts = dict(_from_entry(entry) for entry in salts.entries)

    @property
    def hours(self) -> tuple[Milliseconds, ...]:
        """Starts of all hours of this run, in their order."""
        return tuple(self._hours)

    def net_wh(self, start_ms: Milliseconds) -> WattHours | None:
        """Returns an hour's net, None if it is none of this run."""
        gross = self._hours.get(start_ms)
        return None if gross is None else gross.net_wh

    def sign(self, start_ms: Milliseconds) -> PublishReading:
        """Returns an hour's signed reading, the same one each time; may leave the node after the next `sync`."""
        gross = self._hours[start_ms]
        reading = Reading(
            chain=self._identity.chain,
            meter=self._identity.member,
            interval_start_ms=start_ms,
            net_wh=gross.net_wh,
            source=SURPLUS_SOURCE if gross.net_wh > 0 else NO_SURPLUS_SOURCE,
            gross_commitment=gross_commitment(self._salt(start_ms, gross), gross.consumption_wh, gross.generation_wh),
        )
        return PublishReading(reading=reading, meter_signature=self._identity.key.sign(encode(reading)))

    def _salt(self, start_ms: Milliseconds, gross: GrossReading) -> bytes:
        salt = self._salts.get(start_ms)
        if salt is None:
            salt = self._new_salt()
            self._salts[start_ms] = salt
            self._journal.append(_entry(start_ms, gross, salt))
        return salt

    def sync(self) -> None:
        """Makes all salts durable."""
        self._journal.sync()


def measured_hours(readings: Readings, household: str, hours: int) -> dict[Milliseconds, GrossReading]:
    """Returns a household's first `hours` hours (0: all) by their start."""
    starts = readings.hours_start_ms[: hours or None]
    return dict(zip(starts, readings.by_household[household], strict=False))


def _entry(start_ms: Milliseconds, gross: GrossReading, salt: bytes) -> Entry:
    return {
        "interval_start_ms": start_ms,
        "consumption_wh": gross.consumption_wh,
        "generation_wh": gross.generation_wh,
        "salt": salt.hex(),
    }


def _from_entry(entry: Mapping[str, Any]) -> tuple[Milliseconds, bytes]:
    try:
        start_ms, salt = Milliseconds(int(entry["interval_start_ms"])), bytes.fromhex(entry["salt"])
        gross = GrossReading(
            consumption_wh=WattHours(int(entry["consumption_wh"])),
            generation_wh=WattHours(int(entry["generation_wh"])),
        )
        require_same(entry, _entry(start_ms, gross, salt))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AppendLogError(f"the journal of salts holds something else: {error}") from None
    return start_ms, salt
