"""The real daemon that also writes down every message that it receives, decrypted: what a member sees of the mesh.

`python -m tests.support.recording_daemon start --record FILE --config FILE`
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from consensus.identifiers import Address
from node.daemon import Daemon, run_daemon
from node.home.configuration import load_configuration
from node.mesh.messages import PeerMessage, decode_peer_message, encode_peer_message

_true_receive = Daemon._receive


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("start", choices=["start"])
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--config", type=Path, required=True)
    options = parser.parse_args(arguments)
    with options.record.open("ab", buffering=0) as record:

        def receive(daemon: Daemon, sender: Address, message: PeerMessage) -> None:
            frame = encode_peer_message(message)
            record.write(len(frame).to_bytes(4, "big") + frame)
            _true_receive(daemon, sender, message)

        with patch.object(Daemon, "_receive", receive):
            return run_daemon(load_configuration(options.config))


def recorded(path: Path) -> list[PeerMessage]:
    """Returns what was written down, but for a last message that was cut off."""
    content, place, messages = path.read_bytes(), 0, []
    while place + 4 <= len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        frame = content[place + 4 : place + 4 + size]
        if len(frame) < size:
            break
        messages.append(decode_peer_message(frame))
        place += 4 + size
    return messages


if __name__ == "__main__":
    sys.exit(main())
