"""All quorum arithmetic, for any number of members N >= 1.

F faults are tolerated; two quorums of Q share at least one honest member, and Q honest members exist:
2 Q - N > F and Q <= N - F. The familiar 2 F + 1 satisfies the first only when N = 3 F + 1: at N = 5 and 6 it
forks (docs/protocol.md). No other module computes a quorum.
"""


def fault_bound(members: int) -> int:
    """Returns F, the number of Byzantine members that `members` (>= 1) tolerate: floor((N - 1) / 3)."""
    assert members >= 1
    return (members - 1) // 3


def quorum(members: int) -> int:
    """Returns Q, the votes in a certificate: ceil((N + F + 1) / 2)."""
    return (members + fault_bound(members) + 2) // 2


def weak_quorum(members: int) -> int:
    """Returns F + 1: at least one of so many members is honest. Also the equal replies a wallet believes."""
    return fault_bound(members) + 1


def clock_quorum(members: int) -> int:
    """Returns 2 F + 1: the reported clocks after which the present slot follows the members, not one clock."""
    return 2 * fault_bound(members) + 1
