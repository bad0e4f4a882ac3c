"""With which certificate this node opens a link: of its node key, or of either while it exchanges it."""

import random
from collections.abc import Sequence
from ssl import SSLContext
from typing import NamedTuple

from consensus.identifiers import PublicKey
from node.admission.identity import Identity


class Contexts(NamedTuple):
    """What a link is opened with that shows one certificate."""

    server: SSLContext
    client: SSLContext


class OwnCertificates:
    """The certificates of a node. Which key another member knows depends on how far that one is, which nobody can
    tell before there is a link: so of two each attempt shows either, by chance, and the next one perhaps the other.
    """

    def __init__(self, identities: Sequence[Identity]) -> None:
        """Opens the files of all.

        Raises:
            IdentityError: the certificates are not usable.
        """
        assert identities, "a node has a certificate"
        self._contexts = {
            one.node_key.public_key: Contexts(one.server_ssl_context(), one.client_ssl_context())
            for one in identities
        }

    def for_link(self) -> Contexts:
        """Returns what to open the next link with."""
        return random.choice([*self._contexts.values()])  # noqa: S311  (no secret: either is shown to whoever asks)

    def show_alone(self, key: PublicKey) -> None:
        """Shows no certificate but that of a key from now on."""
        self._contexts = {key: self._contexts[key]}
