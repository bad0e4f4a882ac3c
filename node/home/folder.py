"""The files of a node: one folder, whose names every part of the daemon takes from here.

| file | what | mode |
|---|---|---|
| `meter.toml` | configuration | 0644 |
| `genesis.msgpack` | canonical genesis; its hash is the chain's name | 0644 |
| `genesis.json` | the same, for people | 0644 |
| `node.key`, `meter.key` | Ed25519 private keys, PKCS8 PEM | 0600 |
| `node.csr` | a new home's request for its certificate (`p2pnode home new`) | 0644 |
| `node.crt` | certificate of the node key, and of the issuing authority that signed it | 0644 |
| `ca.crt` | certificate of the network's root, which certified the issuing authority | 0644 |
| `next/` | the next key of the node or the meter, its request and its certificate (`p2pnode member rotate`) | 0700 |
| `taken/` | the same, while its files take the old ones' places | 0700 |
| `sign-state` | what this node has signed for the undecided height | 0600 |
| `own-transactions` | the journal of the node's own transactions | 0600 |
| `meter-salts`, `meter-offers`, `meter-contracts` | the meter's journals | 0600 |
| `readings.csv` | the household's own rows: what its meter measures | 0600 |
| `eras/` | plans that this node agreed to, eras that it began (`p2pnode recover`) | 0700 |
| `join-request.json` | what this home asked to join with (`p2pnode join request`) | 0644 |
| `join-identity.json` | who lives here, with the salt of what the chain has of it: `join seal` reads it | 0600 |
| `join-sealed.json` | the same, sealed to the drawn verifiers (`p2pnode join seal`) | 0644 |
| `endpoints` | where the members said that they are; a cache (`node/mesh/endpoint_file.py`) | 0644 |
| `address-book.json` | how this home calls the members (`p2pnode names`) | 0600 |
| `evidence/` | what proves that members contradicted themselves | 0700 |
| `ledger/` | blocks and state | 0700 |
| `snapshot-intake/` | a state that is taken from the others, to begin with; gone once the ledger is made | 0700 |
| `filling/` | blocks below the snapshot that the ledger began with, until all are here | 0700 |
| `snapshots/` | copies of the state for those who join, the last two; made anew if they are gone | 0700 |
| `ledger.damaged-N`, `sign-state.damaged-N` | what was found damaged at a start, the last two of each | as before |
| `halted` | why the node halted on a broken invariant (absent while all is well) | 0644 |
| `node.log`, `node.pid` | output and process id of a daemon that the testnet command started | 0644 |
"""

from dataclasses import dataclass
from pathlib import Path

CONFIGURATION_NAME = "meter.toml"
READINGS_NAME = "readings.csv"


@dataclass(frozen=True, slots=True)
class Home:
    """Paths inside one node's folder; nothing is opened or made here."""

    directory: Path
    """The folder of `meter.toml`."""

    @property
    def configuration(self) -> Path:
        """The node's configuration."""
        return self.directory / CONFIGURATION_NAME

    @property
    def genesis(self) -> Path:
        """Canonical encoding of genesis."""
        return self.directory / "genesis.msgpack"

    @property
    def genesis_text(self) -> Path:
        """Genesis for people."""
        return self.directory / "genesis.json"

    @property
    def node_key(self) -> Path:
        """Private key of the node: votes, transactions, TLS."""
        return self.directory / "node.key"

    @property
    def meter_key(self) -> Path:
        """Private key of the meter: readings."""
        return self.directory / "meter.key"

    @property
    def certificate(self) -> Path:
        """Certificate of the node key, and of the issuing authority that signed it."""
        return self.directory / "node.crt"

    @property
    def request(self) -> Path:
        """Request for the certificate, made with the node key."""
        return self.directory / "node.csr"

    @property
    def authority_certificate(self) -> Path:
        """Certificate of the root: whom the home trusts to admit nodes to the mesh."""
        return self.directory / "ca.crt"

    @property
    def next(self) -> "Home":
        """Folder of the next key of the node or the meter: its files have the names that they will have here."""
        return Home(self.directory / "next")

    @property
    def taken(self) -> "Home":
        """The same folder while its files take the places of the old ones."""
        return Home(self.directory / "taken")

    @property
    def sign_state(self) -> Path:
        """What this node has signed for the undecided height."""
        return self.directory / "sign-state"

    @property
    def ledger(self) -> Path:
        """Folder of the ledger's database."""
        return self.directory / "ledger"

    @property
    def intake(self) -> Path:
        """A state that is being taken in."""
        return self.directory / "snapshot-intake"

    @property
    def filling(self) -> Path:
        """Folder in which earlier blocks fill in."""
        return self.directory / "filling"

    @property
    def snapshots(self) -> Path:
        """Folder of copies of the state, for those who join."""
        return self.directory / "snapshots"

    @property
    def eras(self) -> Path:
        """Plans that this node agreed to, and eras that it began."""
        return self.directory / "eras"

    @property
    def endpoints(self) -> Path:
        """Where the members said that they are."""
        return self.directory / "endpoints"

    @property
    def join_request(self) -> Path:
        """What this home asked to join with: until it is a member, it follows the chain as a stranger."""
        return self.directory / "join-request.json"

    @property
    def checkpoint(self) -> Path:
        """Whom this home has links to while it fetches the chain that it joins."""
        return self.directory / "checkpoint"

    @property
    def join_identity(self) -> Path:
        """Who lives here, with the salt of the commitment: to be sealed for the verifiers alone."""
        return self.directory / "join-identity.json"

    @property
    def join_sealed(self) -> Path:
        """Who lives here, sealed to the drawn verifiers: what a member brings them."""
        return self.directory / "join-sealed.json"

    @property
    def address_book(self) -> Path:
        """How this home calls the members."""
        return self.directory / "address-book.json"

    @property
    def evidence(self) -> Path:
        """What proves that members contradicted themselves."""
        return self.directory / "evidence"

    @property
    def readings(self) -> Path:
        """The household's own rows."""
        return self.directory / READINGS_NAME

    @property
    def log(self) -> Path:
        """Output of a daemon that the testnet command started."""
        return self.directory / "node.log"

    @property
    def halted(self) -> Path:
        """Why the node halted on a broken invariant; absent while all is well."""
        return self.directory / "halted"

    @property
    def process_id(self) -> Path:
        """Process id of the running daemon, locked while it runs."""
        return self.directory / "node.pid"
