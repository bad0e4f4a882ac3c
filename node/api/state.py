"""Handlers about the state: keys and their history, members, offices, wallets and scores."""

from itertools import islice
from typing import cast

from aiohttp import web

from consensus.codec import Record, decode, encode
from consensus.identifiers import Address, Height
from contracts.state import Account, StateKey, StateValue, account_key
from contracts.state_reading import read
from ledger.errors import NothingToProve, StateKeyRefused
from ledger.ledger import Ledger
from ledger.state_keys import parse_state_key, state_key_text
from node.api.context import ApiContext, answer
from node.api.problem import ProblemError
from node.replies.parameters import (
    AccountParameters,
    ApplicationsParameters,
    HistoryParameters,
    NoParameters,
    StateParameters,
)
from node.replies.problem import ProblemReason
from node.replies.state import (
    AccountReply,
    HistoryReply,
    StateProofModel,
    StateRecord,
    StateReply,
    StateVersion,
)
from node.replies.views import record_fields, record_kind
from node.stories.applications import applications_of, last_application_of
from node.stories.lists import offices_of, scores_of
from node.stories.member_changes import changes_of
from node.stories.members import members_of
from node.stories.rules import rules_of


async def show_state(context: ApiContext, parameters: StateParameters, _: web.Request) -> web.Response:
    """Answers with the value of a key, now or at a past height."""
    ledger = context.chain.ledger
    key = _parse_key(parameters.key)
    height = ledger.height if parameters.height is None else Height(parameters.height)
    if height > ledger.height:
        raise ProblemError(ProblemReason.UNKNOWN_BLOCK, f"height {height} is above the tip, {ledger.height}")
    if parameters.proof and height != ledger.height:
        detail = "a proof is made for the newest state only; leave `height` out"
        raise ProblemError(ProblemReason.INVALID_PARAMETER, detail)
    raw = ledger.get_at(key, height)
    if raw is None and not parameters.proof:
        raise ProblemError(ProblemReason.UNKNOWN_KEY, f"{parameters.key} holds nothing at height {height}")
    return answer(
        StateReply(
            key=state_key_text(key),
            key_encoded=key.hex(),
            height=height,
            record=None if raw is None else _record_view(raw),
            proof=_proof(ledger, key) if parameters.proof else None,
        )
    )


async def show_history(context: ApiContext, parameters: HistoryParameters, _: web.Request) -> web.Response:
    """Answers with the versions of a key."""
    ledger = context.chain.ledger
    key = _parse_key(parameters.key)
    after = None if parameters.after is None else Height(parameters.after)
    found = list(islice(ledger.history(key, above=after), parameters.limit + 1))
    if not found and after is None:
        raise ProblemError(ProblemReason.UNKNOWN_KEY, f"{parameters.key} was never written")
    page = found[: parameters.limit]
    return answer(
        HistoryReply(
            first_height=ledger.first_height,
            key=state_key_text(key),
            key_encoded=key.hex(),
            versions=[StateVersion(height=height, record=_record_view(raw)) for height, raw in page],
            next_after=page[-1][0] if len(found) > len(page) else None,
        )
    )


def _parse_key(text: str) -> StateKey:
    try:
        return parse_state_key(text)
    except StateKeyRefused as error:
        raise ProblemError(ProblemReason.INVALID_PARAMETER, f"key: {error}") from None


def _record_view(raw: bytes) -> StateRecord:
    record = cast(Record, decode(raw, StateValue))
    return StateRecord(kind=record_kind(record), fields=record_fields(record), encoded=raw.hex())


def _proof(ledger: Ledger, key: StateKey) -> StateProofModel:
    try:
        proof = ledger.prove_state(key)
    except NothingToProve as error:
        raise ProblemError(ProblemReason.UNKNOWN_BLOCK, str(error)) from None
    return StateProofModel(
        height=proof.header.height,
        state_root=proof.header.state_root.hex(),
        proof_encoded=encode(proof).hex(),
    )


async def list_members(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with all members."""
    connected = context.node.replica.connected() | {context.node.address}
    return answer(members_of(context.chain.ledger, context.node.names(), connected))


async def show_rules(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with the rules of the next block, and what members propose about them."""
    return answer(rules_of(context.chain.ledger, context.node.names()))


async def list_offices(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with the offices and the keys that act for them."""
    return answer(offices_of(context.chain.ledger, context.node.names()))


async def list_member_changes(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with what changes of the members wait, or are under way, and who left."""
    return answer(changes_of(context.chain.ledger, context.node.names(), context.chain.mempool.of_sender))


async def list_applications(context: ApiContext, parameters: ApplicationsParameters, _: web.Request) -> web.Response:
    """Answers with homes that asked to join, or with one of them."""
    ledger, names = context.chain.ledger, context.node.names()
    if parameters.address is None:
        return answer(applications_of(ledger, names))
    return answer(last_application_of(ledger, names, Address(bytes.fromhex(parameters.address))))


async def list_scores(context: ApiContext, _: NoParameters, __: web.Request) -> web.Response:
    """Answers with every member's quality of transaction as of the tip's slot."""
    return answer(scores_of(context.chain.ledger, context.node.names()))


async def show_account(context: ApiContext, parameters: AccountParameters, _: web.Request) -> web.Response:
    """Answers with a wallet."""
    address = Address(bytes.fromhex(parameters.address))
    account = read(context.chain.ledger, account_key(address), Account)
    if account is None:
        raise ProblemError(ProblemReason.UNKNOWN_ACCOUNT, f"{parameters.address} has no wallet")
    return answer(
        AccountReply(
            address=parameters.address,
            available_micro=account.available_micro,
            held_micro=account.held_micro,
            nonce=account.nonce,
        )
    )
