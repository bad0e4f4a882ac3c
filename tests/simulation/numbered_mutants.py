"""Which break of the protocol's list each mutant is: of members that change (1 to 14, 19, 20), of exchanged keys (15
to 17, 21), of who leads (18), of the inquiry across memberships (22 to 27) and of the ceremony (28 to 46).
`python -m tests.simulation.numbered_mutants` prints the table, with what noticed each.

Two of the list are no mutants: a node that left never exits by itself (11; the command waits until others go on), and
who was seen is what the chain says (14), so there are no own links to count in its place.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final
from unittest.mock import patch

import typer

from tests.simulation.mutant import FAILURES, Mutant, in_place
from tests.simulation.mutants import MUTANTS

NUMBERED: Final = {
    1: "a change is in force one height later",
    2: "a change is in force three heights later",
    3: "a certificate counts under the members of today",
    4: "a quorum of the members of the next height decides",
    5: "the digest of the members has no order",
    6: "the digest of the members has no keys",
    7: "two changes in a block",
    8: "a change while one is pending",
    9: "who left goes on signing",
    10: "who left is heard and not answered",
    12: "a candidate counts at its admission",
    13: "any block will do",
    15: "the old key counts from the first height of the new one on",
    16: "the new key counts below its first height",
    17: "a key that was somebody's comes back",
    18: "slots are shared out among those who may lead",
    19: "a cluster is drawn from the newest list of the members",
    20: "who left is rewarded",
    21: "evidence counts under the key of today",
    22: "who forgot counts the answers of the set that it had when it asked",
    23: "who forgot asks the members of its own height",
    24: "answers above the own height count",
    25: "the silence ends with the own height",
    26: "who keeps silent answers",
    27: "an answer needs no signature",
    28: "a statement leaves without a seal",
    29: "a statement leaves before the seal is durable",
    30: "who stated appends what its era decides",
    31: "nothing is carried over",
    32: "the block of the lowest slot is carried over",
    33: "the era is not signed",
    34: "the era's number is signed without its plan",
    35: "agreements of those who go on count",
    36: "a home agrees to two plans of one era",
    37: "a home agrees to a plan with an older statement of its own",
    38: "a seal is taken back below what was agreed to",
    39: "a plan is applied twice",
    40: "the base is the lowest height",
    41: "who comes late begins with nothing that binds",
    42: "a plan needs no quorum of statements",
    43: "a plan follows no era that somebody agreed to begin",
    44: "a ledger above the base is taken as it is",
    45: "a peer of another era is banned",
    46: "a gone member's key is still accepted",
}
"""By their number in the protocol's list of breaks."""


CLUSTERS: Final = {
    1: "who may propose is asked without looking at the justification",
    2: "what goes to the cluster goes there for ever",
    3: "nothing is passed on",
    4: "a certificate that came whole counts by the tally alone",
    5: "a short form's bitmap may have another length",
    6: "a certificate that was handed out is believed unchecked",
    7: "what is in a certificate is no evidence",
    8: "what decides is not handed out",
    9: "no collector hands out a second time",
    10: "requests are answered without a limit",
    11: "what is passed on is held by sender",
    12: "who passes a STATUS on is taken for its origin",
    13: "statements are passed on among any number of members",
    14: "a block counts whose header has the slot's other leader",
    15: "numbers below a bound are words modulo the bound",
    16: "each region is as likely, whatever its size",
    17: "who was drawn leads in the order of the regions",
    18: "a leader proves another output in each of its slots",
    20: "a scalar above the order is the same proof again",
    22: "a member is drawn whose key is new",
    23: "attempts are led in the order of admission though something is drawn",
    24: "a suspended member is drawn",
    25: "who stands in the carried certificate alone is rewarded",
    26: "misconduct takes what stands as stake alone",
    27: "a stake that was taken back verifies while it is locked",
    28: "what was passed on once is never passed on again",
    29: "to the cluster alone goes what follows a slot given up",
}
"""The same of the list about drawn clusters. What nothing can notice (19, 21, and of 5 the number of bits) is told in
`randomness_mutants` and `cluster_mutants`, with the reason.
"""


def table() -> list[str]:
    """One line for each: number, break, what noticed it."""
    by_name = {mutant.name: mutant for mutant in MUTANTS}
    lines = []
    for number, name in (*NUMBERED.items(), *CLUSTERS.items()):
        noticed = [failure_of(by_name[name], killer) for killer in by_name[name].killers]
        lines.append(f"{number}  {name}\n" + "\n".join(f"      {line}" for line in noticed))
    return lines


def failure_of(mutant: Mutant, killer: Callable[[], object]) -> str:
    """Says with which words a killer fails on a mutant."""
    with ExitStack() as stack:
        for owner, attribute, broken in mutant.breaks:
            stack.enter_context(patch.object(owner, attribute, in_place(broken, lambda: None)))
        try:
            killer()
        except FAILURES as error:
            words = str(error).splitlines() or [type(error).__name__]
            return f"{getattr(killer, '__qualname__', killer)}: {words[0]}"
    return f"{killer}: SURVIVES"


if __name__ == "__main__":
    typer.echo("\n".join(table()))
