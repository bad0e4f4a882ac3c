"""`p2pnode member renew`: the chain learns that the authority vouches for this home until a later time."""

from pathlib import Path
from typing import Final

import typer

from contracts.receipts import Reason
from contracts.vouchers import valid_until_ms
from node.admission import next_keys
from node.admission.chain import read_chain
from node.admission.identity import load_chain
from node.cli.homes.exchanging import CertificateOption, certificate_content
from node.cli.options import RunningConfig
from node.cli.sending import send_as_member
from node.errors import Declined, NodeError
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.stories.members import JOINS_ANEW
from node.stories.words import moment_text

RENEW_EXAMPLE: Final = """\
\b
1. p2pnode ca renew ca node1 --output node1.crt                    (at the authority)
2. p2pnode member renew --config node1/meter.toml --certificate node1.crt"""


def renew(config: RunningConfig, certificate: CertificateOption = None) -> None:
    """Renew this home: its certificate is good for longer, and the chain is told so.

    The keys stay. The certificate becomes the home's node.crt; without
    --certificate the chain is told of the one that is there. The chain
    removes a member two weeks after its certificate ran out, and until then
    takes a renewal; who was removed joins anew (p2pnode init, p2pnode
    join). The node need not be restarted.
    """
    configuration = load_configuration(config)
    home = configuration.home
    if certificate is not None:
        _put(home, certificate)
    action = next_keys.renewal_of(home, certificate_content(home.certificate))
    try:
        reply = send_as_member(configuration, action)
    except Declined as declined:
        if declined.reason != Reason.RENEW_NOT_MEMBER.value:
            raise
        raise NodeError(f"{declined}. {JOINS_ANEW}") from None
    until = moment_text(valid_until_ms(action.vouchers))
    typer.echo(f"Block {reply.height:,} took it: the authority vouches for {configuration.node.name} until {until}")


def _put(home: Home, path: Path) -> None:
    """Puts a certificate in the place of the home's if it ends later; the same one again changes nothing."""
    content = certificate_content(path)
    next_keys.renewal_of(home, content)
    new, present = (chain[0].not_valid_after_utc for chain in (read_chain(content), load_chain(home.certificate)))
    if new < present:
        raise NodeError(
            f"{path}: ends on {new:%Y-%m-%d}, before the one that this home has ({present:%Y-%m-%d}). "
            "Nothing was changed"
        )
    next_keys.put_certificate(home, content)
