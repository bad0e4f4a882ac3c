"""The names under which a node serves its API, and the pages of which it answers.

The API is for this machine's user and has no access control, so the browser must not become the way in. A page can
let its own name lead to this machine's address (DNS rebinding) and then read what it likes as its own origin: its
requests name its host, which is none of the node's. A page that asks for the node's true address is of another
origin, and says so.
"""

import re
from collections.abc import Iterable
from typing import Final

from aiohttp import web

from node.api.problem import ProblemError, shortened
from node.replies.problem import ProblemReason

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

AUTHORITY: Final = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[^\[\]:@,/?#\s]+)(?::[0-9]{1,5})?")
"""A Host header's value: name or address, then perhaps a port."""


class ServedHosts:
    """What may stand in a request's Host, with any port: that of a container is published as another."""

    def __init__(self, names: Iterable[str]) -> None:
        """Takes host names and addresses in any case, without ports; this machine's own are added."""
        self._names = LOOPBACK_NAMES | {_bracketed(name.lower()) for name in names}

    def check(self, request: web.Request) -> None:
        """Refuses what is not meant for this node.

        Raises:
            ProblemError: the request names another host, none or several, or comes from a page of another origin.
        """
        hosts = request.headers.getall("Host", [])
        host = hosts[0] if len(hosts) == 1 else ""
        authority = AUTHORITY.fullmatch(host)
        if authority is None or authority["name"].lower() not in self._names:
            raise ProblemError(ProblemReason.UNKNOWN_HOST, self._explanation(host))
        origin = request.headers.get("Origin")
        if origin is not None and origin.partition("://")[2].lower() != host.lower():
            raise ProblemError(ProblemReason.FOREIGN_ORIGIN, f"origin {shortened(origin)!r} is not this node")

    def _explanation(self, host: str) -> str:
        served = ", ".join(sorted(self._names))
        return (
            f"the request is for {shortened(host)!r}; this node answers as {served}. A further name is added with "
            f"`host_names` under [api] in meter.toml"
        )


def _bracketed(name: str) -> str:
    """Returns an IPv6 address as it stands in a URL."""
    return f"[{name}]" if ":" in name else name
