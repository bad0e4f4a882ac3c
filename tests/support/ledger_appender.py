"""A process of its own that appends blocks to a ledger until it is killed or the disk takes no more.

    python -m tests.support.ledger_appender DIRECTORY [FILE_SIZE_BYTES_MAX]

Prints each height after its append has returned. With a limit on the size of files it goes on until a write
fails, tries again, and prints how that ended as JSON.
"""

import json
import resource
import sys
from pathlib import Path

from ledger.errors import LedgerWriteFailed
from ledger.ledger import Ledger
from tests.support.contracts import make_genesis
from tests.support.ledger import ChainBuilder


def say(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def append_forever(builder: ChainBuilder) -> None:
    while True:
        builder.append([builder.transfer(sender, (sender + 1) % 4, 1) for sender in range(4)])
        say(builder.ledger.height)


def refusals_after_failure(builder: ChainBuilder) -> dict[str, object]:
    height = builder.ledger.height
    refused = []
    attempts = {
        "append": builder.append,
        "persist_undecided": lambda: builder.ledger.persist_undecided({b"name": b"value"}),
    }
    for name, attempt in attempts.items():
        try:
            attempt()
        except LedgerWriteFailed:
            refused.append(name)
    builder.ledger.close()
    return {"height": height, "still_height": builder.ledger.height, "refused": refused}


def main() -> None:
    directory, community = Path(sys.argv[1]), make_genesis()
    if Ledger.exists(directory):
        ledger = Ledger.open(directory, community.genesis)
    else:
        ledger = Ledger.create(directory, community.genesis)
    builder = ChainBuilder(ledger, community)
    last = ledger.last_nonce(community.addresses[0])
    assert last is not None
    builder.nonces = [last] * 4
    if len(sys.argv) > 2:
        limit = int(sys.argv[2])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            append_forever(builder)
        except LedgerWriteFailed:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            say(json.dumps(refusals_after_failure(builder)))
    else:
        append_forever(builder)


if __name__ == "__main__":
    main()
