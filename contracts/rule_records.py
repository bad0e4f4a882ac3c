"""Records of the state about the rules themselves. `rules` and `proposals` have the rules for them."""

from typing import Annotated

from msgspec import Meta

from consensus.codec import Record
from consensus.identifiers import Address, Height
from consensus.messages import NUMBER_MAX, HeightField
from contracts.genesis import RuleParameters


class Rules(Record, frozen=True, kw_only=True, tag="rules"):
    """What the next block is executed under; earlier ones are earlier versions of the record."""

    version: int
    """Of the program's rules."""
    first_height: Height
    """From which on they hold."""
    parameters: RuleParameters
    waiting: Address | None
    """Who made the approved proposal that waits to change them."""


class RulesChange(Record, frozen=True, kw_only=True, tag="rules-change"):
    """Blocks from a height on are to be executed under other rules."""

    version: Annotated[int, Meta(ge=1, le=NUMBER_MAX)]
    """The present one, if only the parameters change, or the next one."""
    from_height: HeightField
    parameters: RuleParameters
