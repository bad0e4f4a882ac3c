"""The authority's register: every certificate that it issued, to whom, and which of them it revoked, as a JSON file.

It is the authority's memory, and the revocation list is made of it. A register says no less than what left the
authority: it is written before a certificate is.
"""

import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple

from cryptography import x509
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from consensus.cryptography import address_of
from consensus.identifiers import DIGEST_SIZE_BYTES, Digest, PublicKey
from node.admission.chain import Role
from node.admission.endpoint import Endpoint, parse_endpoint
from node.admission.meter_claim import MeterClaim, parse_meter_claim
from node.errors import IdentityError

FORMAT: Final = "p2pnode-register-1"

SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
"""About 60,000 certificates of 500 bytes each: 256 members, renewed every two years, for a century, and room."""

PREFIX_DIGITS_MIN: Final = 8
"""Fewest hexadecimal digits of an address that name somebody, as everywhere on the command line."""


class Reason(StrEnum):
    """Why a certificate is revoked: the names of RFC 5280, 5.3.1, without those of no use here."""

    UNSPECIFIED = "unspecified"
    KEY_COMPROMISE = "key-compromise"
    CA_COMPROMISE = "ca-compromise"
    AFFILIATION_CHANGED = "affiliation-changed"
    SUPERSEDED = "superseded"
    CESSATION = "cessation"
    PRIVILEGE_WITHDRAWN = "privilege-withdrawn"

    @property
    def flag(self) -> x509.ReasonFlags:
        """Returns how a revocation list names it."""
        name = "cessation_of_operation" if self is Reason.CESSATION else self.value.replace("-", "_")
        return x509.ReasonFlags[name]


class State(StrEnum):
    """What a certificate is worth now."""

    VALID = "valid"
    REPLACED = "replaced"
    """A later one of the same key was issued; this one is good until it ends."""
    EXPIRED = "expired"
    REVOKED = "revoked"


def _require_utc(time: datetime) -> datetime:
    if time.utcoffset() != timedelta(0) or time.microsecond:
        raise ValueError("must be in UTC, in whole seconds")
    return time


Time = Annotated[AwareDatetime, AfterValidator(_require_utc)]
Serial = Annotated[str, Field(pattern=r"^[0-9a-f]{1,40}$")]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class _RegisterRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Revoked(_RegisterRecord):
    """When and why a certificate was revoked."""

    at: Time
    reason: Reason


class Issued(_RegisterRecord):
    """A certificate below the root."""

    serial: Serial
    """In hex; unique over all keys of the authority."""
    valid_from: Time
    valid_until: Time
    revoked: Revoked | None = None

    def is_expired(self, now: datetime) -> bool:
        """Says whether its time is over."""
        return self.valid_until < now


class IssuedToHome(Issued):
    """A certificate of a node's key."""

    name: Name
    address: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """In hex: the hash of the key."""
    node_key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """In hex."""
    role: Role
    endpoint: str | None
    """As the certificate names it; None where it names none."""
    meter: str | None = None
    """As the certificate names it; None where it names none."""
    issued_by: Serial
    """The issuing authority's certificate."""
    person: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Tag of who lives there, drawn with the first certificate: chains keep it, and it says who that is only to who
    has this register."""

    @property
    def tag(self) -> Digest | None:
        """Returns the person's tag."""
        return None if self.person is None else Digest(bytes.fromhex(self.person))

    @model_validator(mode="after")
    def _check_address(self) -> "IssuedToHome":
        if address_of(self.public_key).hex() != self.address:
            raise ValueError("address: is not that of node_key")
        if self.endpoint is not None and self.place is None:
            raise ValueError("endpoint: is none")
        try:
            _ = self.claim
        except IdentityError as error:
            raise ValueError(str(error)) from None
        return self

    @property
    def public_key(self) -> PublicKey:
        """The node's key."""
        return PublicKey(bytes.fromhex(self.node_key))

    @property
    def place(self) -> Endpoint | None:
        """Where the home is reached."""
        return None if self.endpoint is None else parse_endpoint(self.endpoint)

    @property
    def claim(self) -> MeterClaim | None:
        """The home's meter."""
        return None if self.meter is None else parse_meter_claim(self.meter, self.public_key)


class Entry(NamedTuple):
    """A certificate with what it is worth."""

    issued: IssuedToHome
    state: State


class Register(_RegisterRecord):
    """All certificates of an authority."""

    format: Literal["p2pnode-register-1"] = FORMAT
    network: str
    list_number: Annotated[int, Field(ge=0, le=2**63)]
    """Of the newest revocation list; a list whose writing failed keeps its number for itself."""
    issuing: tuple[Issued, ...]
    """Certificates of the issuing authority, the newest last."""
    certificates: tuple[IssuedToHome, ...]
    """Of homes, the newest last."""

    @model_validator(mode="after")
    def _check_serials(self) -> "Register":
        serials = [one.serial for one in (*self.issuing, *self.certificates)]
        if len(set(serials)) != len(serials):
            raise ValueError("serial: one is there twice")
        return self

    # --- questions ---------------------------------------------------------------------------------------------

    def entries(self, now: datetime) -> list[Entry]:
        """Returns all certificates of homes with what they are worth, in the order of issue."""
        newest = {one.address: one.serial for one in self.certificates if one.revoked is None}
        dead = {one.serial for one in self.issuing if one.revoked is not None}

        def state(one: IssuedToHome) -> State:
            if one.revoked is not None or one.issued_by in dead:
                return State.REVOKED
            if one.is_expired(now):
                return State.EXPIRED
            return State.VALID if newest[one.address] == one.serial else State.REPLACED

        return [Entry(one, state(one)) for one in self.certificates]

    def named(self, text: str) -> list[IssuedToHome]:
        """Returns the certificates of the one key that a name, an address or its first digits mean; newest last.

        Raises:
            IdentityError: of none, or of several.
        """
        found = [one for one in self.certificates if one.name == text]
        if not found and len(text) >= PREFIX_DIGITS_MIN:
            found = [one for one in self.certificates if one.address.startswith(text.lower())]
        if not found:
            raise IdentityError(f"{text[:64]!r}: no certificate of this name or address was issued")
        # a home that was replaced has the same name and another key: only one whose key still counts is meant
        unrevoked = [one for one in found if one.revoked is None] or found
        addresses = list(dict.fromkeys(one.address for one in unrevoked))
        if len(addresses) > 1:
            shown = ", ".join(address[:16] for address in addresses[:8])
            raise IdentityError(f"{text[:64]!r} has {len(addresses)} keys: name one by its address ({shown})")
        return [one for one in found if one.address == addresses[0]]

    def require_free(self, name: str, key: PublicKey) -> None:
        """Refuses a key that no certificate may be issued for.

        Raises:
            IdentityError: it was revoked, or has another name.
        """
        address = address_of(key).hex()
        for one in self.certificates:
            if one.address != address:
                continue
            if one.revoked is not None:
                raise IdentityError(
                    f"node_key: was revoked on {one.revoked.at:%Y-%m-%d} ({one.revoked.reason}), and gets no "
                    "certificate any more: the home makes a new key"
                )
            if one.name != name:
                raise IdentityError(f"name: is {name}, and this key is registered as {one.name}")

    def person_of(self, name: str) -> Digest:
        """Returns the tag of who has certificates under a name, a new one of who has none."""
        known = [one.tag for one in self.certificates if one.name == name and one.tag is not None]
        return known[-1] if known else Digest(secrets.token_bytes(DIGEST_SIZE_BYTES))

    # --- changes -----------------------------------------------------------------------------------------------

    def with_certificates(self, issued: Sequence[IssuedToHome]) -> "Register":
        """Returns it with more certificates."""
        return self._changed(certificates=(*self.certificates, *issued))

    def with_issuing(self, issued: Issued) -> "Register":
        """Returns it with one more certificate of the issuing authority."""
        return self._changed(issuing=(*self.issuing, issued))

    def with_revoked(self, serials: Sequence[str], revoked: Revoked) -> "Register":
        """Returns it with certificates revoked, homes' or the issuing authority's."""
        change = {"revoked": revoked}
        return self._changed(
            issuing=tuple(one.model_copy(update=change) if one.serial in serials else one for one in self.issuing),
            certificates=tuple(
                one.model_copy(update=change) if one.serial in serials else one for one in self.certificates
            ),
        )

    def with_next_list(self) -> "Register":
        """Returns it with the number of the list that is made next."""
        return self._changed(list_number=self.list_number + 1)

    def _changed(self, **fields: object) -> "Register":
        return self.model_copy(update=fields)

    @property
    def revocations(self) -> list[x509.RevokedCertificate]:
        """What the revocation list says: all that was ever revoked, by serial."""
        return [
            _revocation(one.serial, one.revoked)
            for one in sorted((*self.issuing, *self.certificates), key=lambda one: int(one.serial, 16))
            if one.revoked is not None
        ]


def _revocation(serial: str, revoked: Revoked) -> x509.RevokedCertificate:
    builder = x509.RevokedCertificateBuilder().serial_number(int(serial, 16)).revocation_date(revoked.at)
    if revoked.reason is not Reason.UNSPECIFIED:  # RFC 5280, 5.3.1: absent instead
        builder = builder.add_extension(x509.CRLReason(revoked.reason.flag), critical=False)
    return builder.build()


def issued_of(certificate: x509.Certificate) -> Issued:
    """Returns what the register keeps of any certificate."""
    return Issued(
        serial=serial_of(certificate),
        valid_from=certificate.not_valid_before_utc,
        valid_until=certificate.not_valid_after_utc,
    )


def serial_of(certificate: x509.Certificate) -> str:
    """Returns the serial number of a certificate as the register writes it."""
    return f"{certificate.serial_number:x}"


def read_register(text: bytes) -> Register:
    """Returns the register in JSON form.

    Raises:
        IdentityError: it is none; names the first field that is wrong.
    """
    if len(text) > SIZE_BYTES_MAX:
        raise IdentityError(f"is larger than {SIZE_BYTES_MAX} bytes, which no register is")
    try:
        return Register.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])[:80]
        raise IdentityError(f"is damaged: {f'{place}: ' if place else ''}{first['msg'][:200]}") from None


def render_register(register: Register) -> bytes:
    """Returns a register in JSON form.

    Raises:
        IdentityError: it would be too large to be read.
    """
    text = register.model_dump_json(indent=1).encode() + b"\n"
    if len(text) > SIZE_BYTES_MAX:
        raise IdentityError(f"the register would have more than {SIZE_BYTES_MAX} bytes: nothing was changed")
    return text
