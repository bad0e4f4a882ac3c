"""Every route of the REST API in one literal table: what it takes, answers and refuses, and who serves it.

The table registers the routes (`server.py`) and makes the OpenAPI document (`openapi.py`), so the two cannot differ.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from node.api.blocks import list_blocks, show_block, show_checkpoint
from node.api.context import ApiContext
from node.api.events import follow_events
from node.api.identities import deliver_identity, list_identities, show_panel
from node.api.node import (
    show_docs,
    show_health,
    show_metrics,
    show_openapi,
    show_readiness,
    show_status,
)
from node.api.state import (
    list_applications,
    list_member_changes,
    list_members,
    list_offices,
    list_scores,
    show_account,
    show_history,
    show_rules,
    show_state,
)
from node.api.stories import (
    list_evidence,
    list_own_transactions,
    list_trades,
    show_evidence,
    show_member,
    show_receipt,
    show_score_history,
    show_statement,
    show_trade,
)
from node.api.transactions import MESSAGEPACK_TYPES, show_transaction, submit
from node.api.why import show_why
from node.replies.identities import IdentitiesReply, PanelFileReply, SealedBody
from node.replies.members import MemberReply
from node.replies.node import (
    BatchReply,
    BlockReply,
    BlocksReply,
    CheckpointReply,
    HealthReply,
    ReadyReply,
    StatusReply,
    SubmissionBody,
    SubmissionReply,
    TransactionReply,
)
from node.replies.offices import OfficesReply
from node.replies.parameters import (
    AccountParameters,
    ApplicationsParameters,
    BlockParameters,
    BlocksParameters,
    EventsParameters,
    EvidenceParameters,
    HistoryParameters,
    MemberParameters,
    NoParameters,
    OwnTransactionsParameters,
    PanelParameters,
    Parameters,
    ReceiptParameters,
    ScoreHistoryParameters,
    StatementParameters,
    StateParameters,
    SubmissionParameters,
    TradeParameters,
    TradesParameters,
    TransactionParameters,
)
from node.replies.problem import ProblemReason as Reason
from node.replies.rules import RulesReply
from node.replies.state import (
    AccountReply,
    ApplicationsReply,
    Event,
    HistoryReply,
    MemberChangesReply,
    MembersReply,
    OwnTransactionsReply,
    ScoresReply,
    StateReply,
    TradesReply,
)
from node.replies.stories import (
    MisconductReply,
    MisconductsReply,
    ReceiptFileReply,
    ScoreHistoryReply,
    StatementReply,
    TradeStoryReply,
)
from node.replies.why import WhyReply

JSON: Final = "application/json"

Handler = Callable[[ApiContext, Any, web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One way in which a route answers."""

    description: str
    models: tuple[Any, ...] = ()
    """Models of the body, one of them; none where it is not JSON."""
    media_type: str | None = JSON
    """None where there is no body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation."""

    method: str
    path: str
    """Placeholders in braces name parameters of `parameters`."""
    operation: str
    """Unique name of the operation."""
    tag: str
    summary: str
    description: str = ""
    parameters: type[Parameters] = NoParameters
    body: Any = None
    """Type of the JSON body as msgspec reads it, for a route that takes one."""
    raw_media_types: tuple[str, ...] = ()
    """Further media types of the body, taken as bytes."""
    replies: Mapping[int, Reply]
    problems: tuple[Reason, ...] = ()
    """Reasons besides those of every route."""
    handler: Handler


EVERY_ROUTE: Final = (
    Reason.BAD_REQUEST,
    Reason.INVALID_PARAMETER,
    Reason.FOREIGN_ORIGIN,
    Reason.UNKNOWN_HOST,
    Reason.METHOD_NOT_ALLOWED,
    Reason.EXPECTATION_FAILED,
    Reason.HEADER_TOO_LARGE,
    Reason.INTERNAL,
    Reason.TOO_MANY_CONNECTIONS,
)
"""Problems that any route may answer with."""

SUBMIT_TEXT: Final = """Takes a transaction that a wallet has signed; the node never signs for a caller.

Send JSON with `transaction` (raw MessagePack in hexadecimal or base64), JSON with `transactions` (a list of them), or
the raw bytes as `application/msgpack`. Checked are form, chain, signature, nonce and quota; what fails is refused
here and never reaches the chain. Whether tokens and energy suffice is decided by the chain: such a transaction is
*declined*, which is not an error of the request. With `wait` the reply then has `status` declined, and its `receipt`
says why, with the values compared.

Submitting the same bytes again is harmless: 200 with `known` true. A batch is answered with 200 and one result per
transaction, each either a `submission` or a `problem`."""

IDENTITIES_TEXT: Final = """Those that this node brings to verifiers, and the one box of each home that is for this
node, closed: who has the verifier's node key opens it (`p2pnode verify-queue show`). They are in memory alone, and
gone once the application is decided, lapses or gets another panel, the verifier said what it found, or the node
ends."""

EVENTS_TEXT: Final = """A WebSocket. Each message is one event as JSON: per height the block, then its receipts, then
its trades. `from` resumes at a height. A client that does not read is closed with code 1013, a node that stops closes
with 1001; both reasons end in `resume with from=HEIGHT`. Events of that height may come a second time."""

ROUTES: Final[tuple[Route, ...]] = (
    Route(
        method="GET",
        path="/v1/status",
        operation="showStatus",
        tag="node",
        summary="Where this node stands",
        replies={
            200: Reply(description="The node's position, its meter and the chain's totals.", models=(StatusReply,))
        },
        handler=show_status,
    ),
    Route(
        method="GET",
        path="/v1/why",
        operation="showWhy",
        tag="node",
        summary="Why nothing is decided",
        description="Who is missing, which phase, since when, and the quorum's arithmetic, as this member sees it.",
        replies={200: Reply(description="The verdict and what it follows from.", models=(WhyReply,))},
        handler=show_why,
    ),
    Route(
        method="GET",
        path="/v1/blocks",
        operation="listBlocks",
        tag="chain",
        summary="Consecutive blocks, oldest first",
        parameters=BlocksParameters,
        replies={200: Reply(description="Headers in short; empty above the tip.", models=(BlocksReply,))},
        problems=(Reason.BLOCKS_NOT_HERE,),
        handler=list_blocks,
    ),
    Route(
        method="GET",
        path="/v1/blocks/{height}",
        operation="showBlock",
        tag="chain",
        summary="A block with its transactions, receipts and certificate",
        parameters=BlockParameters,
        replies={200: Reply(description="The block.", models=(BlockReply,))},
        problems=(Reason.UNKNOWN_BLOCK, Reason.BLOCKS_NOT_HERE),
        handler=show_block,
    ),
    Route(
        method="GET",
        path="/v1/checkpoint",
        operation="showCheckpoint",
        tag="chain",
        summary="The newest block, with what proves it and the members of today to who has genesis",
        description="`p2pnode join street` writes it down for a home that joins.",
        replies={200: Reply(description="The checkpoint.", models=(CheckpointReply,))},
        problems=(Reason.UNKNOWN_BLOCK, Reason.TOO_MANY_READS),
        handler=show_checkpoint,
    ),
    Route(
        method="POST",
        path="/v1/transactions",
        operation="submitTransaction",
        tag="transactions",
        summary="Submit signed transactions",
        description=SUBMIT_TEXT,
        parameters=SubmissionParameters,
        body=SubmissionBody,
        raw_media_types=MESSAGEPACK_TYPES,
        replies={
            200: Reply(
                description="Decided, or known before; or the results of a batch.",
                models=(SubmissionReply, BatchReply),
            ),
            202: Reply(description="Accepted, in no block yet.", models=(SubmissionReply,)),
        },
        problems=(
            Reason.INVALID_JSON,
            Reason.INVALID_ENCODING,
            Reason.MALFORMED,
            Reason.REQUEST_TIMEOUT,
            Reason.NONCE_PASSED,
            Reason.NONCE_TAKEN,
            Reason.EXPIRED,
            Reason.BODY_TOO_LARGE,
            Reason.TOO_LARGE,
            Reason.UNSUPPORTED_MEDIA_TYPE,
            Reason.WRONG_CHAIN,
            Reason.BAD_SIGNATURE,
            Reason.UNKNOWN_SENDER,
            Reason.OTHER_KEY,
            Reason.NONCE_TOO_HIGH,
            Reason.QUOTA,
            Reason.MEMPOOL_FULL,
        ),
        handler=submit,
    ),
    Route(
        method="GET",
        path="/v1/transactions/{digest}",
        operation="showTransaction",
        tag="transactions",
        summary="A transaction's outcome, with everything to check it alone",
        parameters=TransactionParameters,
        replies={
            200: Reply(description="Decided, with receipt and proof; or still waiting.", models=(TransactionReply,))
        },
        problems=(Reason.UNKNOWN_TRANSACTION, Reason.BLOCKS_NOT_HERE),
        handler=show_transaction,
    ),
    Route(
        method="GET",
        path="/v1/state/{key}",
        operation="showState",
        tag="state",
        summary="The value of a state key, now or at a past height",
        parameters=StateParameters,
        replies={200: Reply(description="The value; with `proof=1` its proof.", models=(StateReply,))},
        problems=(Reason.UNKNOWN_KEY, Reason.UNKNOWN_BLOCK, Reason.BLOCKS_NOT_HERE),
        handler=show_state,
    ),
    Route(
        method="GET",
        path="/v1/state/{key}/history",
        operation="showHistory",
        tag="state",
        summary="All versions of a state key, oldest first",
        parameters=HistoryParameters,
        replies={200: Reply(description="The versions.", models=(HistoryReply,))},
        problems=(Reason.UNKNOWN_KEY,),
        handler=show_history,
    ),
    Route(
        method="GET",
        path="/v1/members",
        operation="listMembers",
        tag="members",
        summary="All members in the order of admission",
        replies={200: Reply(description="The members.", models=(MembersReply,))},
        handler=list_members,
    ),
    Route(
        method="GET",
        path="/v1/rules",
        operation="showRules",
        tag="members",
        summary="The rules of the next block, which of them this node knows, and what members propose",
        replies={200: Reply(description="The rules.", models=(RulesReply,))},
        handler=show_rules,
    ),
    Route(
        method="GET",
        path="/v1/offices",
        operation="listOffices",
        tag="members",
        summary="The offices that no member holds, and the keys that act for them",
        replies={200: Reply(description="The offices.", models=(OfficesReply,))},
        handler=list_offices,
    ),
    Route(
        method="GET",
        path="/v1/members/changes",
        operation="listMemberChanges",
        tag="members",
        summary="Changes of the members that wait, and who left",
        replies={200: Reply(description="The changes.", models=(MemberChangesReply,))},
        handler=list_member_changes,
    ),
    Route(  # behind what else is below /v1/members
        method="GET",
        path="/v1/members/{member}",
        operation="showMember",
        tag="members",
        summary="All that the chain says of who is or was a member",
        parameters=MemberParameters,
        replies={200: Reply(description="The member.", models=(MemberReply,))},
        problems=(Reason.UNKNOWN_MEMBER, Reason.AMBIGUOUS_NAME),
        handler=show_member,
    ),
    Route(
        method="GET",
        path="/v1/applications",
        operation="listApplications",
        tag="members",
        summary="Homes that asked to join, and where each stands",
        parameters=ApplicationsParameters,
        replies={200: Reply(description="The applications.", models=(ApplicationsReply,))},
        handler=list_applications,
    ),
    Route(
        method="GET",
        path="/v1/applications/{address}/panel",
        operation="showPanel",
        tag="members",
        summary="Who verifies a home that asked to join, with the proof for that home",
        parameters=PanelParameters,
        replies={200: Reply(description="The file that `p2pnode join seal` reads.", models=(PanelFileReply,))},
        problems=(Reason.UNKNOWN_PANEL, Reason.TOO_MANY_READS),
        handler=show_panel,
    ),
    Route(
        method="GET",
        path="/v1/identities",
        operation="listIdentities",
        tag="members",
        summary="Sealed identities of homes that join, in this node's memory",
        description=IDENTITIES_TEXT,
        replies={200: Reply(description="The identities, sealed.", models=(IdentitiesReply,))},
        handler=list_identities,
    ),
    Route(
        method="POST",
        path="/v1/identities",
        operation="deliverIdentity",
        tag="members",
        summary="Bring a sealed identity to the verifiers of an application",
        description="Each box goes to its verifier alone, and again until the verifier said that it has it.",
        body=SealedBody,
        replies={200: Reply(description="Taken; what this node has now.", models=(IdentitiesReply,))},
        problems=(
            Reason.INVALID_JSON,
            Reason.IDENTITY_REFUSED,
            Reason.BODY_TOO_LARGE,
            Reason.REQUEST_TIMEOUT,
            Reason.UNSUPPORTED_MEDIA_TYPE,
        ),
        handler=deliver_identity,
    ),
    Route(
        method="GET",
        path="/v1/accounts/{address}",
        operation="showAccount",
        tag="members",
        summary="A wallet's tokens and last nonce",
        parameters=AccountParameters,
        replies={200: Reply(description="The wallet.", models=(AccountReply,))},
        problems=(Reason.UNKNOWN_ACCOUNT,),
        handler=show_account,
    ),
    Route(
        method="GET",
        path="/v1/accounts/{address}/transactions",
        operation="listOwnTransactions",
        tag="members",
        summary="Decided transactions that an owner signed, or that name it, oldest first",
        description="One reply covers at most 4,096 blocks; follow `next_after` until it is null.",
        parameters=OwnTransactionsParameters,
        replies={200: Reply(description="The transactions.", models=(OwnTransactionsReply,))},
        problems=(Reason.TOO_MANY_READS,),
        handler=list_own_transactions,
    ),
    Route(
        method="GET",
        path="/v1/trades",
        operation="listTrades",
        tag="members",
        summary="Completed trades in the order of the chain",
        description="One reply covers at most 4,096 blocks; follow `next_after` until it is null.",
        parameters=TradesParameters,
        replies={200: Reply(description="The trades.", models=(TradesReply,))},
        problems=(Reason.TOO_MANY_READS,),
        handler=list_trades,
    ),
    Route(
        method="GET",
        path="/v1/trades/{trade}",
        operation="showTrade",
        tag="stories",
        summary="The story of a contract, also of one that was declined",
        description="Who, what, when, price, the conditions with their values, the scores that moved, and the proof.",
        parameters=TradeParameters,
        replies={200: Reply(description="The story.", models=(TradeStoryReply,))},
        problems=(Reason.UNKNOWN_TRADE, Reason.AMBIGUOUS_NAME, Reason.TOO_MANY_READS, Reason.BLOCKS_NOT_HERE),
        handler=show_trade,
    ),
    Route(
        method="GET",
        path="/v1/trades/{trade}/receipt",
        operation="showReceipt",
        tag="stories",
        summary="A signed receipt to keep, which proves itself",
        description="`p2pnode receipt verify` checks it with nothing but genesis at hand.",
        parameters=ReceiptParameters,
        replies={200: Reply(description="The receipt file.", models=(ReceiptFileReply,))},
        problems=(Reason.UNKNOWN_TRADE, Reason.AMBIGUOUS_NAME, Reason.TOO_MANY_READS, Reason.BLOCKS_NOT_HERE),
        handler=show_receipt,
    ),
    Route(
        method="GET",
        path="/v1/scores/{member}/history",
        operation="showScoreHistory",
        tag="stories",
        summary="Every version of a member's score with its cause, oldest first",
        parameters=ScoreHistoryParameters,
        replies={200: Reply(description="The versions.", models=(ScoreHistoryReply,))},
        problems=(Reason.UNKNOWN_MEMBER, Reason.AMBIGUOUS_NAME, Reason.TOO_MANY_READS),
        handler=show_score_history,
    ),
    Route(
        method="GET",
        path="/v1/statements/{member}",
        operation="showStatement",
        tag="stories",
        summary="A household's month from the chain alone",
        parameters=StatementParameters,
        replies={200: Reply(description="A line per day, and the sums.", models=(StatementReply,))},
        problems=(
            Reason.UNKNOWN_MEMBER,
            Reason.NOTHING_METERED,
            Reason.AMBIGUOUS_NAME,
            Reason.TOO_MANY_READS,
            Reason.BLOCKS_NOT_HERE,
        ),
        handler=show_statement,
    ),
    Route(
        method="GET",
        path="/v1/evidence",
        operation="listEvidence",
        tag="stories",
        summary="Proven misconduct, in the order of the chain",
        replies={200: Reply(description="Who, what and where.", models=(MisconductsReply,))},
        handler=list_evidence,
    ),
    Route(
        method="GET",
        path="/v1/evidence/{misconduct}",
        operation="showEvidence",
        tag="stories",
        summary="A proven misconduct with both signed statements",
        parameters=EvidenceParameters,
        replies={200: Reply(description="The proof.", models=(MisconductReply,))},
        problems=(Reason.UNKNOWN_EVIDENCE, Reason.AMBIGUOUS_NAME, Reason.BLOCKS_NOT_HERE),
        handler=show_evidence,
    ),
    Route(
        method="GET",
        path="/v1/scores",
        operation="listScores",
        tag="members",
        summary="Every member's quality of transaction",
        replies={200: Reply(description="The scores.", models=(ScoresReply,))},
        handler=list_scores,
    ),
    Route(
        method="GET",
        path="/v1/events",
        operation="followEvents",
        tag="chain",
        summary="Follow decided blocks, receipts and trades (WebSocket)",
        description=EVENTS_TEXT,
        parameters=EventsParameters,
        replies={101: Reply(description="The WebSocket; each message is an `Event`.", models=(Event,))},
        problems=(Reason.WEBSOCKET_EXPECTED, Reason.UNKNOWN_BLOCK, Reason.TOO_MANY_FOLLOWERS, Reason.BLOCKS_NOT_HERE),
        handler=follow_events,
    ),
    Route(
        method="GET",
        path="/v1/openapi.json",
        operation="showOpenapi",
        tag="documentation",
        summary="This document",
        replies={200: Reply(description="OpenAPI 3.1.")},
        handler=show_openapi,
    ),
    Route(
        method="GET",
        path="/docs",
        operation="showDocs",
        tag="documentation",
        summary="This document for people",
        replies={200: Reply(description="A page that needs nothing from elsewhere.", media_type="text/html")},
        handler=show_docs,
    ),
    Route(
        method="GET",
        path="/healthz",
        operation="showHealth",
        tag="node",
        summary="Alive: the process runs and takes part",
        replies={200: Reply(description="It does.", models=(HealthReply,))},
        problems=(Reason.HALTED,),
        handler=show_health,
    ),
    Route(
        method="GET",
        path="/readyz",
        operation="showReadiness",
        tag="node",
        summary="Ready: enough members are connected for a quorum",
        replies={200: Reply(description="They are.", models=(ReadyReply,))},
        problems=(Reason.HALTED, Reason.NOT_READY),
        handler=show_readiness,
    ),
    Route(
        method="GET",
        path="/metrics",
        operation="showMetrics",
        tag="node",
        summary="Metrics in Prometheus' text format",
        replies={200: Reply(description="The metrics.", media_type="text/plain")},
        handler=show_metrics,
    ),
)
