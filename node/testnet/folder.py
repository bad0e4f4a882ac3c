"""A testnet on this machine: a folder with one home per node, and the record of what it was made from."""

import hashlib
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from node.errors import ReadingsError, TestnetError
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.folder import READINGS_NAME, Home
from node.meter.readings_file import Readings, open_readings, read_readings

MANIFEST_NAME: Final = "testnet.json"
AUTHORITY_NAME: Final = "ca"
AUTHORITY_KEY_FILE_NAME: Final = "ca.passphrase"
"""Beside the authority, root key and all: a testnet is one machine's, and nobody's savings."""
ISSUER_KEY_NAME: Final = "issuer.key"
GRID_KEY_NAME: Final = "grid.key"

MANIFEST_SIZE_BYTES_MAX: Final = 1024 * 1024
"""The record of 256 nodes takes about 70 kB."""

Layout = Literal["loopback", "containers"]
"""How nodes reach each other: on ports of 127.0.0.1, or each under its name with the same ports."""


class _ManifestRecord(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TestnetNode(_ManifestRecord):
    """One node as it was made."""

    __test__ = False  # not a test class

    name: str
    address: str
    """In hex."""
    household: str | None
    """The household that its meter measures; None for a node that only validates."""
    p2p_host: str
    """Where others reach it."""
    p2p_port: int
    api_host: str
    """Where its API is reached."""
    api_port: int

    @property
    def api_url(self) -> str:
        """Root of its REST API."""
        return f"http://{self.api_host}:{self.api_port}"


class Manifest(_ManifestRecord):
    """What a testnet was made from; a second `init` compares itself with it."""

    chain: str
    """In hex."""
    layout: Layout
    readings_name: str
    """Name of the readings file, for people."""
    readings_sha256: str
    nodes: tuple[TestnetNode, ...]

    @property
    def households(self) -> tuple[str, ...]:
        """The households with a node, in the order of the nodes."""
        return tuple(node.household for node in self.nodes if node.household is not None)


class Testnet:
    """An existing testnet folder."""

    __test__ = False  # not a test class

    def __init__(self, directory: Path, manifest: Manifest) -> None:
        self.directory: Final = directory.resolve()
        self.manifest: Final = manifest

    @classmethod
    def open(cls, directory: Path) -> "Testnet":
        """Returns the testnet in `directory`.

        Raises:
            TestnetError: there is none, or its record is damaged.
        """
        path = directory / MANIFEST_NAME
        try:
            manifest = Manifest.model_validate_json(read_bounded(path, size_bytes_max=MANIFEST_SIZE_BYTES_MAX))
        except FileNotFoundError:
            made = f"make one with `p2pnode testnet init --dir {directory}`"
            raise TestnetError(f"there is no testnet in {directory}: {made}") from None
        except OSError as error:
            raise TestnetError(f"{path}: cannot be read: {error.strerror}") from None
        except FileTooLargeError as error:
            raise TestnetError(f"{path}: {error}, which no record of a testnet is") from None
        except ValidationError:
            raise TestnetError(f"{path}: is damaged") from None
        return cls(directory, manifest)

    @property
    def nodes(self) -> tuple[TestnetNode, ...]:
        """The nodes in the order of admission."""
        return self.manifest.nodes

    def home(self, node: TestnetNode) -> Home:
        """Returns a node's folder."""
        return Home(self.directory / node.name)

    def readings(self) -> Readings:
        """Returns the testnet's own copy of the readings.

        Raises:
            ReadingsError: it is missing or was changed.
        """
        path = self.directory / READINGS_NAME
        if sha256_of(path) != self.manifest.readings_sha256:
            raise ReadingsError(path, "was changed since the testnet was made")
        return read_readings(path)


def sha256_of(path: Path) -> str:
    """Returns the SHA-256 of a readings file in hex.

    Raises:
        ReadingsError: the file cannot be read.
    """
    try:
        with open_readings(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ReadingsError(path, f"cannot be read: {error.strerror}") from None


def hours_to_run(asked: int | None, available: int, readings_name: str) -> int:
    """Returns how many hours a run takes from the first on; None asks for all.

    Raises:
        TestnetError: there are not so many.
    """
    wanted = available if asked is None else asked
    if not 1 <= wanted <= available:
        raise TestnetError(f"{wanted:,} hours asked for, but {readings_name} has {available:,}")
    return wanted
