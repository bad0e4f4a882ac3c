"""Homes that asked to join: where each stands, with the sentences that people read."""

from consensus.identifiers import Address
from contracts.applicants import Applicant, Standing, Verdict
from contracts.joining import PANELS_MAX, read_unfinished
from contracts.panels import PANEL_MAX, verdicts_needed
from contracts.state import Overlay, applicant_key
from contracts.state_reading import read
from ledger.ledger import Ledger
from node.names.names import Names
from node.replies.state import ApplicationsReply, ApplicationView, Verifier


def applications_of(ledger: Ledger, names: Names) -> ApplicationsReply:
    """Returns open applications and candidates as of the tip."""
    unfinished = read_unfinished(Overlay(ledger))
    return ApplicationsReply(applications=[_view(names, address, one) for address, one in unfinished])


def last_application_of(ledger: Ledger, names: Names, address: Address) -> ApplicationsReply:
    """Returns what a home asked for last, as of the tip, whatever became of it; nothing if it never asked."""
    applicant = read(ledger, applicant_key(address), Applicant)
    return ApplicationsReply(applications=[] if applicant is None else [_view(names, address, applicant)])


def _view(names: Names, address: Address, applicant: Applicant) -> ApplicationView:
    said = {given.verifier: given.verdict for given in applicant.verdicts}
    return ApplicationView(
        address=address.hex(),
        number=applicant.number,
        standing=applicant.standing,
        sentence=sentence_of(applicant),
        sponsor=applicant.sponsor.hex(),
        node_key=applicant.node_key.hex(),
        meter_key=applicant.meter_key.hex(),
        capacity_w=applicant.capacity_w,
        identity=applicant.identity.hex(),
        terms=applicant.terms.hex(),
        person=applicant.person.hex(),
        request=applicant.request.hex(),
        verifiers=[Verifier(address=one.hex(), name=names.of(one), verdict=said.get(one)) for one in applicant.panel],
        needed=verdicts_needed(len(applicant.panel) or PANEL_MAX),
        until_slot=applicant.until_slot,
    )


def sentence_of(applicant: Applicant) -> str:
    """Returns where a home stands that asked to join, for people."""
    match applicant.standing:
        case Standing.OPEN:
            return _sentence_while_open(applicant)
        case Standing.CANDIDATE:
            missing = "its node has not said yet" if applicant.ready_slot is None else "its node said"
            return (
                f"admitted; {missing} that it has followed the chain and is ready. "
                f"The admission lapses with slot {applicant.until_slot}."
            )
        case Standing.JOINED:
            return "it became a member."
        case Standing.REFUSED:
            return f"refused by its verifiers; it may apply again from slot {applicant.until_slot} on."
        case Standing.REVOKED:
            return "it was admitted; then the authority revoked its key, which never applies again."
        case Standing.LAPSED:
            return "lapsed: too few verdicts, or no word that it is ready, within a day. It may apply again."


def _sentence_while_open(applicant: Applicant) -> str:
    if not applicant.panel:
        return (
            f"{PANEL_MAX} of {len(applicant.may_verify)} verifiers are drawn as soon as enough leaders have made "
            f"a block. It lapses with slot {applicant.until_slot}."
        )
    accepted = sum(given.verdict is Verdict.ACCEPT for given in applicant.verdicts)
    needed, refused = verdicts_needed(len(applicant.panel)), len(applicant.verdicts) - accepted
    next_step = "It lapses with" if applicant.panels == PANELS_MAX else "Another panel is drawn from"
    return (
        f"{needed} of {len(applicant.panel)} verifiers must say the same: {accepted} accepted, "
        f"{refused} refused. {next_step} slot {applicant.until_slot}."
    )
