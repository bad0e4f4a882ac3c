"""A daemon that can be made deaf to decisions: a witness that, while a file says so, hears no COMMIT and no decided
block, as if every link lost them. So another member decides a block that nobody else knows to be decided.
"""

import sys
from pathlib import Path
from typing import Final

from consensus.identifiers import Address
from consensus.messages import Commit, Decided, Message
from node.home.folder import Home
from tests.endurance import witness

DEAF_NAME: Final = "deaf"


def deaf_file(home: Home) -> Path:
    return home.directory / DEAF_NAME


class DeafDriver(witness.WitnessDriver):
    def receive(self, sender: Address, message: Message) -> None:
        is_lost = isinstance(message, Commit | Decided) and self.file.with_name(DEAF_NAME).exists()
        if not is_lost:
            super().receive(sender, message)


def main() -> int:
    return witness.main(DeafDriver)


if __name__ == "__main__":
    sys.exit(main())
