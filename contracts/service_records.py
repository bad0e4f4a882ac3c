"""What the state says of service to the last blocks. `state` has the table, `rewards` and `attendance` the rules."""

from consensus.codec import Record


class LastBlock(Record, frozen=True, kw_only=True, tag="last-block"):
    """What the next block must know of this one."""

    trades_rewarded: int
    """For how many trades those who served it are rewarded: those that its traders were rewarded for."""


class Attendance(Record, frozen=True, kw_only=True, tag="attendance"):
    """Who took part lately, as numbers of a height's members: bit n says of the n-th of them, by admission."""

    cluster: bytes
    """C(h, s) of the block h that wrote this and its header slot s, of M(h)."""
    certificates: tuple[bytes, ...]
    """Who signed those that the last blocks carried, up to that of h - 1 in this one, the newest last; each of the
    members of the height that it decides."""
