"""Where a home is: what its options may say of it."""

import re
from ipaddress import ip_address
from typing import Final

from node.admission.endpoint import Endpoint, parse_endpoint
from node.errors import NodeError

ANY_HOST: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  (recognised, not listened on)

_LABEL: Final = r"[0-9a-z_]([0-9a-z_-]{0,61}[0-9a-z_])?"
_HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")


def place_of(host: str, listen: str | None, *, port: int, api_port: int) -> Endpoint:
    """Returns where the others reach a home.

    Args:
        host: name or address there.
        listen: address to listen on, where that is another.
        port: for the others.
        api_port: of its API.

    Raises:
        NodeError: no home can have that; names the option.
    """
    endpoint = parse_endpoint(Endpoint(host.lower(), port).uri) if _is_host(host) else None
    if host in ANY_HOST - {""}:
        raise NodeError(f"--host {host}: is every address of the machine; name the one where the others reach it")
    if endpoint is None:
        raise NodeError(f"--host {host}: is neither a name nor an address")
    if listen is not None and not _is_host(listen):
        raise NodeError(f"--listen {listen}: is no address; 0.0.0.0 and :: are all of the machine")
    if api_port == port:
        raise NodeError(f"--api-port {api_port}: is --port, too; the API needs one of its own")
    return endpoint


def _is_host(text: str) -> bool:
    """Says whether a text is an address, or a name that cannot be meant as one."""
    try:
        ip_address(text)
    except ValueError:
        is_name = _HOST_NAME.fullmatch(text.lower()) is not None
        return is_name and not text.rpartition(".")[2].isdigit()
    return True
