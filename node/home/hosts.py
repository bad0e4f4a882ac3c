"""How a host is written where it goes from one home to another: in certificates, in what members sign, in files."""

import re
from ipaddress import ip_address
from typing import Final

HOST_LENGTH_MAX: Final = 253
"""Of a name in the DNS (RFC 1035)."""

PORT_MAX: Final = 65_535

EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})  # noqa: S104  (recognised, not listened on)
"""To listen on; nobody is reached there."""

_HOST_NAME: Final = re.compile(rf"[0-9a-z._-]{{1,{HOST_LENGTH_MAX}}}")
_BRACKETED: Final = re.compile(r"\[([^\[\]]*:[^\[\]]*)\](?::(.*))?")
_PLAIN: Final = re.compile(r"([^:]+)(?::([^:]*))?")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")


def is_host(text: str) -> bool:
    """Says whether a text is a name in small letters, or an address. One with a zone (`fe80::1%eth0`) means something
    on one machine only.
    """
    if ":" not in text:
        return _HOST_NAME.fullmatch(text) is not None
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def split_place(text: str, *, port: int) -> tuple[str, int]:
    """Returns host and port of `host`, `host:port`, `[address]` or `[address]:port`; `port` where none is named.

    Raises:
        ValueError: it is none of them, or every address of a machine.
    """
    found = _BRACKETED.fullmatch(text.lower()) or _PLAIN.fullmatch(text.lower())
    host, named = found.groups(default=str(port)) if found else (text.lower(), str(port))
    if not is_host(host) or host in EVERY_ADDRESS:
        raise ValueError(f"{text} is neither a name nor an address where others reach this node")
    if _PORT.fullmatch(named) is None or int(named) > PORT_MAX:
        raise ValueError(f"{text}: its port is none from 1 to {PORT_MAX}")
    return host, int(named)
