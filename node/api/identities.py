"""Handlers about who lives in homes that join: their panels, and sealed identities on their way to them.

What is answered is sealed: whoever reads it without a verifier's node key learns nothing.
"""

from aiohttp import web

from consensus.codec import DecodeError, decode
from consensus.identifiers import Address
from node.admission.joining.sealing import SealedIdentity
from node.api.context import ApiContext, answer
from node.api.problem import ProblemError
from node.api.transactions import JSON_TYPE
from node.api.validation import parse_body
from node.errors import BoxFault, JoinError, NotFound
from node.mesh.identity_exchange import IdentityStanding
from node.names.names import Names
from node.proofs.panel_file import export_panel
from node.replies.identities import BoxView, Delivery, IdentitiesReply, IdentityView, PanelFileReply, SealedBody
from node.replies.parameters import NoParameters, PanelParameters
from node.replies.problem import ProblemReason


async def show_panel(context: ApiContext, parameters: PanelParameters, _: web.Request) -> web.Response:
    """Answers with the proof of who verifies a home's application."""
    applicant = Address(bytes.fromhex(parameters.address))
    try:
        document = await context.read_slowly(export_panel(context.chain.ledger, applicant))
    except NotFound as missing:
        raise ProblemError(ProblemReason(missing.reason), str(missing)) from None
    return answer(PanelFileReply.model_validate(document))


async def list_identities(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with the sealed identities in this node's memory."""
    return answer(_reply(context))


async def deliver_identity(context: ApiContext, _: NoParameters, request: web.Request) -> web.Response:
    """Takes a sealed identity, to be brought to its verifiers."""
    body = await context.read_body(request)
    if request.content_type != JSON_TYPE:
        detail = f"{request.content_type}; supported is {JSON_TYPE}"
        raise ProblemError(ProblemReason.UNSUPPORTED_MEDIA_TYPE, detail)
    try:
        sealed = decode(bytes.fromhex(parse_body(body, SealedBody).sealed), SealedIdentity)
        context.node.identities.take(sealed)
    except (DecodeError, JoinError) as error:
        raise ProblemError(ProblemReason.IDENTITY_REFUSED, str(error)) from None
    return answer(_reply(context))


def _reply(context: ApiContext) -> IdentitiesReply:
    names = context.node.names()
    return IdentitiesReply(identities=[_view(names, one) for one in context.node.identities.standings()])


def _view(names: Names, one: IdentityStanding) -> IdentityView:
    return IdentityView(
        applicant=one.applicant.hex(),
        panel=one.panel.hex(),
        box=None
        if one.box is None
        else BoxView(verifier=one.box.verifier.hex(), key=one.box.key.hex(), sealed=one.box.sealed.hex()),
        fault=one.fault,
        deliveries=[
            Delivery(
                verifier=verifier.hex(),
                name=names.of(verifier),
                held=outcome is True,
                fault=outcome if isinstance(outcome, BoxFault) else None,
            )
            for verifier, outcome in one.deliveries.items()
        ],
    )
