"""Tells a run in words, one line per event: who does what in which slot, and whom it reaches.

What a member signs for the first time is told with what it means; what it sends again is told as such, once, and
again when it reaches others. STATUS and what members pass on of others are told where they say something new to
their recipient, requests that members pass on to each other never. Blocks are named A, B, C ... in the order in which
they appear.
"""

from collections.abc import Callable
from typing import Final

from consensus.identifiers import Address, Digest, Height
from consensus.intake import is_known
from consensus.messages import (
    Body,
    BodyRequest,
    CertificateRequest,
    Commit,
    Decided,
    Gathered,
    HeightAnswer,
    HeightQuestion,
    Justification,
    Prepare,
    PrePrepare,
    Status,
    ViewChange,
)
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import Payload

FIRST_LETTER: Final = ord("A")
NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six", "seven")


class Teller:
    """An observer of a network that writes down what it sees."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._blocks: dict[Digest, str] = {}
        self._said: dict[tuple[Address, bytes], list[tuple[int, ...]]] = {}
        """What each member signed before, by signature: whom it reached, each time that it was told."""
        self._open: tuple[int, Host, Payload] | None = None
        """The message whose recipients are being collected."""
        self._reached: list[int] = []
        self._missed: list[int] = []
        self._down: list[int] = []

    # --- what the network tells -----------------------------------------------------------------------------------

    def on_message(
        self, *, sent_ms: int, arrival_ms: int | None, sender: Host, recipient: Host, payload: Payload
    ) -> None:
        is_unheard = arrival_ms is None and is_passed_on(sender, payload)
        if isinstance(payload, tuple) or is_unheard or not _is_news(sender, payload, recipient):
            return
        if self._open is None or self._open[:2] != (sent_ms, sender) or self._open[2] is not payload:
            self.flush()
            self._open = (sent_ms, sender, payload)
        found = self._missed if arrival_ms is None else self._reached
        (found if recipient.is_up else self._down).append(recipient.index)

    def on_note(self, at_ms: int, host: Host, text: str) -> None:
        kind, _, rest = text.partition(" ")
        match kind:
            case "decided":
                self.tell(at_ms, host, self._decision(host, Height(int(rest))))
            case "start":
                self.tell(at_ms, host, "starts again")
            case "crash":
                self.tell(at_ms, host, "dies")
            case "silent":
                self.tell(at_ms, host, f"knows now that it is enough to sign nothing {rest}, and writes that down")

    # --- writing ----------------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Adds a line of comment."""
        self.flush()
        self.lines += ["", *(f"# {line}" for line in text.splitlines())]

    def tell(self, at_ms: int, host: Host, text: str) -> None:
        self.flush()
        slot, elapsed_ms = divmod(at_ms, TAU_MS)
        self.lines.append(f"slot {slot:>2} +{elapsed_ms:03} ms  member {host.index}  {text}")

    def flush(self) -> None:
        """Writes down the message whose recipients were collected."""
        if self._open is None:
            return
        (sent_ms, host, payload), self._open = self._open, None
        reached, missed, down = self._reached, self._missed, self._down
        self._reached, self._missed, self._down = [], [], []
        meaning = self._meaning(host, payload, tuple(reached))
        if meaning is None:
            return
        missing = [f"{why} {_listed(who)}" for why, who in (("lost to", missed), ("down:", down)) if who]
        lost = f" ({', '.join(missing)})" if missing else ""
        self.tell(sent_ms, host, f"{meaning} -> {_listed(reached)}{lost}")

    # --- words ------------------------------------------------------------------------------------------------

    def name(self, block: Digest) -> str:
        return self._blocks.setdefault(block, chr(FIRST_LETTER + len(self._blocks)))

    def _meaning(self, host: Host, payload: Payload, reached: tuple[int, ...]) -> str | None:
        """Returns what a message says, None if it was told before."""
        what = self._what(payload)
        signature = getattr(payload, "signature", None)
        if signature is None:
            return what
        if is_passed_on(host, payload):
            signer = host.replica.membership.addresses.index(payload.signer)  # type: ignore[union-attr]
            return f"passes on of member {signer}: {what}"
        told = self._said.setdefault((host.key.address, type(payload).__name__.encode() + signature), [])
        if len(told) > 1 and told[-1] == reached:
            return None
        told.append(reached)
        return f"again: {what}" if len(told) > 1 else self._first(host, payload) + what

    def _first(self, host: Host, payload: Payload) -> str:
        match payload:
            case PrePrepare():
                requests = len(host.application.transactions_in(payload.proposal))
                size = f"{NUMBERS[requests]} request{'s' * (requests != 1)}" if requests else "empty"
                return f"proposes {self.name(payload.block)}, {size}: "
            case Prepare():
                return f"votes for {self.name(payload.block)}: "
            case Commit():
                return f"holds {host.replica.membership.quorum} votes for {self.name(payload.block)}: "
            case ViewChange():
                return f"promises {payload.slot} (k = {host.sign_state.attempts}): "
        return ""

    def _what(self, payload: Payload) -> str:
        match payload:
            case PrePrepare():
                return f"PRE-PREPARE({payload.slot}, {self.name(payload.block)}){_because(payload.justification)}"
            case Prepare() | Commit():
                return f"{type(payload).__name__.upper()}({payload.slot}, {self.name(payload.block)})"
            case ViewChange():
                claim = payload.claim
                claimed = "none" if claim is None else f"({claim.slot}, {self.name(claim.block)})"
                return f"VIEW-CHANGE({payload.slot}), claims {claimed}"
            case Gathered():
                return f"GATHERED({payload.kind.value}s, {payload.slot}, {self.name(payload.block)})"
            case CertificateRequest():
                return f"CERTIFICATE-REQUEST({payload.slot})"
            case _:
                return self._answer(payload)

    def _answer(self, payload: Payload) -> str:
        """Words for what is not signed."""
        match payload:
            case Decided():
                certificate = payload.certificate
                return f"DECIDED(height {certificate.height}, {self.name(certificate.block)})"
            case BodyRequest():
                return f"BODY-REQUEST({self.name(payload.block)})"
            case Body():
                return f"BODY({self.name(payload.block)})"
            case HeightQuestion():
                return "asks what it may have signed: HEIGHT-QUESTION"
            case Status() | HeightAnswer():
                kind = "STATUS" if isinstance(payload, Status) else "HEIGHT-ANSWER"
                return f"{kind}(undecided height {payload.undecided})"
        raise AssertionError(f"no words for {type(payload).__name__}")

    def _decision(self, host: Host, height: Height) -> str:
        certificate = host.application.decided(height).certificate
        addresses = host.replica.membership.addresses
        signers = sorted(addresses.index(endorsement.signer) for endorsement in certificate.endorsements)
        name = self.name(certificate.block)
        return f"decides {name} at height {height}, by the COMMITs of {_listed(signers)} at slot {certificate.slot}"


def _is_news(sender: Host, payload: Payload, recipient: Host) -> bool:
    """Says whether a STATUS, or what is passed on, tells its recipient something."""
    if isinstance(payload, Status):
        return recipient.is_up and payload.undecided != recipient.replica.height
    if not is_passed_on(sender, payload):
        return True
    return recipient.is_up and not is_known(payload, recipient.replica._member)  # type: ignore[arg-type]


def is_passed_on(sender: Host, payload: Payload) -> bool:
    """Says whether a message is a statement of another member than its sender."""
    return getattr(payload, "signer", sender.key.address) != sender.key.address


def _because(justification: Justification | None) -> str:
    if justification is None:
        return ""
    claims = [header.claim for header in justification.headers if header.claim is not None]
    highest = max((claim.slot for claim in claims), default=None)
    what = "no claim" if highest is None else f"the claim of slot {highest}"
    return f" by {len(justification.headers)} VIEW-CHANGEs with {what}"


def _listed(numbers: list[int]) -> str:
    if not numbers:
        return "nobody"
    *others, last = [str(number) for number in sorted(numbers)]
    return f"{', '.join(others)} and {last}" if others else last


Loss = Callable[[Host, Host, Payload], bool]
