"""The reasons for which a node's API refuses, with the status and title of each."""

from collections.abc import Mapping
from enum import Enum
from typing import Final


class ProblemReason(Enum):
    """What went wrong, for programs."""

    # the request itself
    BAD_REQUEST = "bad_request"
    INVALID_PARAMETER = "invalid_parameter"
    INVALID_JSON = "invalid_json"
    INVALID_ENCODING = "invalid_encoding"
    UNKNOWN_ROUTE = "unknown_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    FOREIGN_ORIGIN = "foreign_origin"
    UNKNOWN_HOST = "unknown_host"
    REQUEST_TIMEOUT = "request_timeout"
    BODY_TOO_LARGE = "body_too_large"
    HEADER_TOO_LARGE = "header_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    EXPECTATION_FAILED = "expectation_failed"
    WEBSOCKET_EXPECTED = "websocket_expected"
    # what is asked for
    UNKNOWN_BLOCK = "unknown_block"
    UNKNOWN_TRANSACTION = "unknown_transaction"
    UNKNOWN_KEY = "unknown_key"
    UNKNOWN_ACCOUNT = "unknown_account"
    UNKNOWN_TRADE = "unknown_trade"
    UNKNOWN_MEMBER = "unknown_member"
    UNKNOWN_EVIDENCE = "unknown_evidence"
    UNKNOWN_PANEL = "unknown_panel"
    NOTHING_METERED = "nothing_metered"
    BLOCKS_NOT_HERE = "blocks_not_here"
    AMBIGUOUS_NAME = "ambiguous_name"
    # transactions refused before any block
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    WRONG_CHAIN = "wrong_chain"
    BAD_SIGNATURE = "bad_signature"
    UNKNOWN_SENDER = "unknown_sender"
    OTHER_KEY = "other_key"
    NONCE_PASSED = "nonce_passed"
    NONCE_TOO_HIGH = "nonce_too_high"
    NONCE_TAKEN = "nonce_taken"
    EXPIRED = "expired"
    QUOTA = "quota"
    MEMPOOL_FULL = "mempool_full"
    # identities of homes that join
    IDENTITY_REFUSED = "identity_refused"
    # the node
    NOT_READY = "not_ready"
    HALTED = "halted"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    TOO_MANY_FOLLOWERS = "too_many_followers"
    TOO_MANY_READS = "too_many_reads"
    INTERNAL = "internal"


PROBLEMS: Final[Mapping[ProblemReason, tuple[int, str]]] = {
    ProblemReason.BAD_REQUEST: (400, "The request is not valid HTTP"),
    ProblemReason.INVALID_PARAMETER: (400, "A parameter or field has a wrong value"),
    ProblemReason.INVALID_JSON: (400, "The body is not JSON"),
    ProblemReason.INVALID_ENCODING: (400, "The transaction is neither hexadecimal nor base64"),
    ProblemReason.FOREIGN_ORIGIN: (403, "A page of another origin may not use this node"),
    ProblemReason.UNKNOWN_ROUTE: (404, "There is nothing at this path"),
    ProblemReason.UNKNOWN_BLOCK: (404, "No block of this height is decided"),
    ProblemReason.UNKNOWN_TRANSACTION: (404, "No decided transaction has this digest"),
    ProblemReason.UNKNOWN_KEY: (404, "The state key has no value at this height"),
    ProblemReason.UNKNOWN_ACCOUNT: (404, "No wallet has this address"),
    ProblemReason.UNKNOWN_TRADE: (404, "The chain holds no contract or transaction of this name"),
    ProblemReason.UNKNOWN_MEMBER: (404, "No member has this name or address"),
    ProblemReason.UNKNOWN_EVIDENCE: (404, "The chain holds no proven misconduct of this name"),
    ProblemReason.UNKNOWN_PANEL: (404, "Nobody verifies an application of this home now"),
    ProblemReason.NOTHING_METERED: (404, "The meter has no reading in this month"),
    ProblemReason.AMBIGUOUS_NAME: (409, "The beginning of a name fits several things; give more digits"),
    ProblemReason.METHOD_NOT_ALLOWED: (405, "The path does not know this method"),
    ProblemReason.REQUEST_TIMEOUT: (408, "The body did not arrive in time"),
    ProblemReason.NONCE_PASSED: (409, "The sender has used this or a higher nonce; sign again with a higher one"),
    ProblemReason.NONCE_TAKEN: (409, "Another transaction of the sender with this nonce waits for a block"),
    ProblemReason.EXPIRED: (409, "The last height that the transaction is valid for has passed; sign again"),
    ProblemReason.BODY_TOO_LARGE: (413, "The body is too large"),
    ProblemReason.TOO_LARGE: (413, "The transaction is too large"),
    ProblemReason.UNSUPPORTED_MEDIA_TYPE: (415, "The body's media type is not supported"),
    ProblemReason.EXPECTATION_FAILED: (417, "The Expect header is not supported"),
    ProblemReason.MALFORMED: (400, "The bytes are not the canonical encoding of a transaction"),
    ProblemReason.UNKNOWN_HOST: (421, "The node does not answer under this host name"),
    ProblemReason.WRONG_CHAIN: (422, "The transaction was signed for another chain"),
    ProblemReason.BAD_SIGNATURE: (422, "The sender's signature does not hold"),
    ProblemReason.UNKNOWN_SENDER: (422, "The sender has no wallet on this chain"),
    ProblemReason.OTHER_KEY: (422, "The key that signed is not the sender's present one"),
    ProblemReason.NONCE_TOO_HIGH: (422, "The nonce is too far above the sender's last; sign again with a lower one"),
    ProblemReason.IDENTITY_REFUSED: (422, "The identity is not sealed for the verifiers of an open application"),
    ProblemReason.WEBSOCKET_EXPECTED: (426, "This path speaks WebSocket only"),
    ProblemReason.QUOTA: (429, "The sender submits more than its quota"),
    ProblemReason.HEADER_TOO_LARGE: (431, "The request's header is too large"),
    ProblemReason.INTERNAL: (500, "The node failed to answer; its log says why"),
    ProblemReason.MEMPOOL_FULL: (503, "The node has no room for further transactions"),
    ProblemReason.BLOCKS_NOT_HERE: (503, "It lies below the block that this node's ledger begins at"),
    ProblemReason.NOT_READY: (503, "The node is not connected to enough members"),
    ProblemReason.HALTED: (503, "The node has stopped taking part"),
    ProblemReason.TOO_MANY_CONNECTIONS: (503, "The node has too many connections"),
    ProblemReason.TOO_MANY_FOLLOWERS: (503, "Too many clients follow the events"),
    ProblemReason.TOO_MANY_READS: (503, "Too many requests read much of the chain"),
}
"""Status and title of every reason."""
