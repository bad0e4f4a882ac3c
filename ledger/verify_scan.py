"""The second half of verification: reads every stored key once and finds what should not be there.

The first half has looked up everything that must be stored. Where the numbers also agree, height by height,
there is nothing more: no version, index entry or map node was slipped in.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from consensus.identifiers import DIGEST_SIZE_BYTES, Digest, Height
from ledger.errors import LedgerDamaged
from ledger.store import HEIGHT_SIZE_BYTES, INDEX_SIZE_BYTES, Space, Store, height_from
from ledger.verification_report import Findings

KEY_SIZE_BYTES: Final[Mapping[Space, int]] = {
    Space.BLOCK: 1 + HEIGHT_SIZE_BYTES,
    Space.CERTIFICATE: 1 + HEIGHT_SIZE_BYTES,
    Space.BLOCK_DIGEST: 1 + DIGEST_SIZE_BYTES,
    Space.FORMAT: 1,
    Space.TIP: 1,
    Space.ORIGIN: 1,
    Space.MAP_NODE: 1 + DIGEST_SIZE_BYTES,
    Space.RECEIPTS: 1 + HEIGHT_SIZE_BYTES,
    Space.TRANSACTION: 1 + DIGEST_SIZE_BYTES,
}
"""Of the tables whose keys all have one length."""

STATE_KEY_SIZE_BYTES_MIN: Final = 2 + 1 + HEIGHT_SIZE_BYTES
"""Of a stored state version: table bytes of both levels, a singleton's letter, the height."""


def scan_everything(
    store: Store,
    findings: Findings,
    *,
    nodes: Mapping[Digest, bytes] | None,
    versions: Counter[Height],
    transactions: Counter[Height],
    first: Height,
    named: Counter[Height],
    checked: Height,
    last: Height,
) -> None:
    """Adds to the findings whatever is stored and should not be.

    Args:
        store: opened with checksums.
        findings: to add to.
        nodes: all nodes of the map at the tip; None if the tip could not be reached.
        versions: right number of state versions by height.
        transactions: right number of transactions by height.
        first: lowest height whose block is stored.
        named: heights below it whose blocks the index knows all the same.
        checked: highest height that was executed; nothing is known of what lies above.
        last: highest height that is stored.
    """
    scan = _Scan(findings, nodes)
    try:
        for key, value in store.entries():
            scan.take(key, value)
    except LedgerDamaged as damaged:
        findings.add(None, damaged.what)
        return  # the numbers of a broken scan mean nothing
    blocks = Counter({Height(number): 1 for number in range(first, checked + 1)})
    up_to = None if checked == last else checked
    scan.compare("state versions", Space.STATE, versions, up_to)
    scan.compare("indexed transactions", Space.TRANSACTION, transactions, up_to)
    scan.compare("indexed block digests", Space.BLOCK_DIGEST, blocks + named, up_to)
    for space in (Space.BLOCK, Space.CERTIFICATE, Space.RECEIPTS):
        scan.compare(f"records of table {space.name.lower()}", space, blocks, up_to)
    if nodes is not None and scan.nodes_count != len(nodes):
        findings.add(last, f"{scan.nodes_count} map nodes are stored, {len(nodes)} belong to the state")


class _Scan:
    """Counts what is stored, by table and height."""

    def __init__(self, findings: Findings, nodes: Mapping[Digest, bytes] | None) -> None:
        self._findings = findings
        self._nodes = nodes
        self._counts: dict[Space, Counter[Height]] = {space: Counter() for space in Space}
        self.nodes_count = 0

    def take(self, key: bytes, value: bytes) -> None:
        """Sorts one stored record into its table."""
        try:
            space = Space(key[:1])
        except ValueError:
            self._findings.add(None, f"key {key[:64].hex()} belongs to no table")
            return
        if space is Space.STATE:
            fits = len(key) >= STATE_KEY_SIZE_BYTES_MIN
        else:
            fits = len(key) == KEY_SIZE_BYTES.get(space, len(key))
        if not fits:
            self._findings.add(None, f"key {key[:64].hex()} has a wrong length")
            return
        if space is Space.MAP_NODE:
            self._take_node(Digest(key[1:]), value)
        else:
            self._count(space, key, value)

    def _take_node(self, name: Digest, value: bytes) -> None:
        self.nodes_count += 1
        if self._nodes is not None and self._nodes.get(name) != value:
            self._findings.add(None, f"map node {name.hex()} is altered or belongs to no state")

    def _count(self, space: Space, key: bytes, value: bytes) -> None:
        match space:
            case Space.STATE:
                height = height_from(key[-HEIGHT_SIZE_BYTES:])
            case Space.BLOCK | Space.CERTIFICATE | Space.RECEIPTS:
                height = height_from(key[1:])
            case Space.BLOCK_DIGEST if len(value) == HEIGHT_SIZE_BYTES:
                height = height_from(value)
            case Space.TRANSACTION if len(value) == HEIGHT_SIZE_BYTES + INDEX_SIZE_BYTES:
                height = height_from(value[:HEIGHT_SIZE_BYTES])
            case Space.BLOCK_DIGEST | Space.TRANSACTION:
                self._findings.add(None, f"index entry {key.hex()} is not a place on the chain")
                return
            case _:
                return  # one record each, compared whole; consensus' own records may be anything
        self._counts[space][height] += 1

    def compare(self, what: str, space: Space, expected: Counter[Height], up_to: Height | None) -> None:
        """Adds a finding for each height, up to the given one, whose number is not the right one."""
        stored = self._counts[space]
        for height in sorted(stored.keys() | expected.keys()):
            if up_to is not None and height > up_to:
                break
            if stored[height] != expected[height]:
                self._findings.add(height, f"{stored[height]} {what} are stored, {expected[height]} belong there")
