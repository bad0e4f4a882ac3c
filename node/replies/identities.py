"""What a node has of sealed identities of homes that join: to its own people, and closed."""

from typing import Annotated, Literal

import msgspec
from pydantic import JsonValue

from node.errors import BoxFault
from node.replies.fields import ApiModel, Hash, Hex

SEALED_LENGTH_MAX = 2 * 64 * 1024
"""Characters of a sealed identity in hexadecimal: ten boxes take 95,000."""


class SealedBody(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An identity, sealed for the verifiers of an application."""

    sealed: Annotated[
        str,
        msgspec.Meta(
            max_length=SEALED_LENGTH_MAX,
            pattern="^([0-9a-f]{2})*$",
            description="Canonical encoding of a sealed identity, hexadecimal, as `p2pnode join seal` makes it.",
        ),
    ]


class BoxView(ApiModel):
    """An identity, sealed for this node: who has its node key can open it."""

    verifier: Hash
    key: Hash
    sealed: Hex


class Delivery(ApiModel):
    """A box that this node brings to a verifier."""

    verifier: Hash
    name: str
    held: bool
    """Whether the verifier said that it has it; false also once a new link to it came up."""
    fault: BoxFault | None
    """Why the verifier does not keep it."""


class IdentityView(ApiModel):
    """What this node has to do with the identity of a home that joins."""

    applicant: Hash
    panel: Hash
    """Names the application's verifiers of now."""
    box: BoxView | None
    """For this node, if it is a verifier and was shown the application's identity."""
    fault: BoxFault | None
    """Why this node, a verifier, has none though one was brought."""
    deliveries: list[Delivery]
    """Boxes that this node brings to others, whose verdict is missing."""


class IdentitiesReply(ApiModel):
    """Sealed identities in this node's memory; those of applications that are over are not."""

    identities: list[IdentityView]


class PanelFileReply(ApiModel):
    """Who verifies an application, with what proves it to who has genesis alone: `p2pnode join seal` reads it."""

    format: Literal["p2pnode-panel-1"]
    about: dict[str, JsonValue]
    """What the content says, for people."""
    content: Hex
    """Canonical encoding: changes of the members, the state's record, its proof, header and certificate."""
