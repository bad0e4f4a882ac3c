"""Runs that are directed message by message: what only a rare seed would meet, told as it happens."""

from consensus.messages import Commit, PrePrepare
from tests.simulation.faults import Faults
from tests.simulation.host import TAU_MS, Host
from tests.simulation.network import RECOVERY_SLOTS_MAX, Network, Payload
from tests.simulation.telling import is_passed_on

FOR_EVER_MS = 10**9
RESTART_MS = 2 * TAU_MS


class CommittedThenRestarted:
    """Four members, one of which dies: why a COMMIT counts toward the Q members of P3.

    All give the fast path up and promise a slot. Its leader proposes with their justification, to two of the others;
    the fourth member hears nothing of it. With the leader's vote these are Q = 3: the two prepare the block and send
    COMMITs, which are lost. Then the leader dies for good, the other three restart, and from now on everything
    arrives.

    What the three still send: the fourth repeats its VIEW-CHANGE; it never voted. The two repeat vote and COMMIT, and
    no VIEW-CHANGE, as they are prepared at the slot that they promised (P7). Two COMMITs decide nothing. Two votes
    prepare nothing for the fourth: the third was the dead leader's. So there must be a next attempt, for which Q
    members must have reached the promise. By VIEW-CHANGEs alone each of the two sees at best two of them, the
    fourth's and its own, and the fourth sees its own: nothing would ever happen again. (With at most 13 members they
    would pass on the dead leader's vote, P9: what is passed on is lost here.)
    """

    def __init__(self) -> None:
        self.network = Network(4, 1, Faults())
        self.network.is_lost = self._is_lost
        self.leader: int | None = None
        """Of the first justified slot; known once it proposes."""
        self.has_restarted = False
        self._committed: set[int] = set()

    def _is_lost(self, sender: Host, recipient: Host, payload: Payload) -> bool:
        if is_passed_on(sender, payload):
            return True
        if self.has_restarted or not isinstance(payload, PrePrepare | Commit):
            return False
        if isinstance(payload, PrePrepare):
            if payload.justification is None:
                return True
            self.leader = sender.index
            return recipient.index == self._fourth
        self._committed.add(sender.index)
        if len(self._committed - {self.leader}) == 2:
            self._restart_all()
        return True

    @property
    def _fourth(self) -> int:
        assert self.leader is not None, "somebody proposed"
        return (self.leader + 2) % 4

    def _restart_all(self) -> None:
        self.has_restarted = True
        for host in self.network.hosts:
            self.network.push(0, "absence", host, FOR_EVER_MS if host.index == self.leader else RESTART_MS)

    def run(self) -> None:
        """Has one request executed by the three; raises AssertionError if that does not come about."""
        network = self.network
        network.hosts[0].submit(0)
        assert network.run(lambda: self.has_restarted, 20 * TAU_MS), "the schedule does not come about"
        alive = [host for host in network.hosts if host.index != self.leader]
        assert all(host.application.height == 0 for host in alive), "decided before the restart"
        is_decided = network.run(
            lambda: min(host.application.height for host in alive) > 0, RECOVERY_SLOTS_MAX * TAU_MS
        )
        assert is_decided, "stuck"
