"""Options that several commands take."""

from pathlib import Path
from typing import Annotated, Final

import typer

PORT_MAX: Final = 65_535

ConfigOption = Annotated[
    Path,
    typer.Option(help="A node's meter.toml: asks the node if it runs, else opens its ledger.", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's reply.")]
GenesisOption = Annotated[Path, typer.Option(help="The chain's genesis.json or genesis.msgpack.", show_default=False)]
