"""The configuration of a node: `meter.toml`, environment overrides, and the commented file that explains it.

One frozen value, validated once at the start. A key that is not known is refused, as a misspelt one would
otherwise be a setting that silently does nothing. `P2PNODE_<TABLE>__<KEY>` in the environment overrides a
key, for example `P2PNODE_API__PORT=8081`.
"""

import os
import tomllib
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from consensus.identifiers import Address
from node.errors import ConfigurationError
from node.home.bounded_file import FileTooLargeError, read_bounded
from node.home.folder import CONFIGURATION_NAME, READINGS_NAME, Home
from node.home.hosts import split_place

ENVIRONMENT_PREFIX: Final = "P2PNODE_"
ENVIRONMENT_DELIMITER: Final = "__"

FEED_IN_TARIFF_MICRO_PER_KWH: Final = 80_000
"""What the grid pays for a kWh fed in, 0.08 tokens: the least a neighbour should pay."""
RETAIL_PRICE_MICRO_PER_KWH: Final = 300_000
"""What the grid takes for a kWh, 0.30 tokens: the most a neighbour would pay."""
SELL_PRICE_MICRO_PER_KWH: Final = 200_000
"""The fixed price that a new node asks, between the two."""

PEERS_MAX: Final = 255
"""All others of the largest membership."""

HOST_NAMES_MAX: Final = 64

ADVERTISED_MAX: Final = 4
"""A name, an address of each kind, and one in the house: each is dialled in vain where it does not hold."""

FILE_SIZE_BYTES_MAX: Final = 256 * 1024
"""255 peers take about 60 kB, and comments are welcome."""

LINE_DOTS_MAX: Final = 256
"""A key has two parts at most; a peer with the dots of its host has a line of its own."""

PROBLEMS_TOLD_MAX: Final = 20
SHOWN_LENGTH_MAX: Final = 80
"""Of what is wrong in a file of any size: this many problems, and so much of a key."""


def _without_nul(path: Path) -> Path:
    if "\0" in str(path):
        raise ValueError("no file's name holds a NUL byte")
    return path


_Path = Annotated[Path, AfterValidator(_without_nul)]
_HostName = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\s/]+$")]


def _without_port(name: str) -> str:
    if ":" in name:
        try:
            ip_address(name)
        except ValueError:
            raise ValueError("is neither a name nor an address; give it without port") from None
    return name


_ServedName = Annotated[_HostName, AfterValidator(_without_port)]
_Port = Annotated[int, Field(ge=1, le=65_535)]


def _of_a_place(text: str) -> str:
    split_place(text, port=1)
    return text


_Place = Annotated[_HostName, AfterValidator(_of_a_place)]
_Price = Annotated[int, Field(ge=0, le=10**12)]


class _Table(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class NodeTable(_Table):
    """This node."""

    name: str = Field(
        min_length=1,
        max_length=64,
        description="What this household calls its node, in its own commands and API; told to nobody.",
    )
    home: _Path = Field(
        default=Path(),
        description="Folder of the keys, the sign state and the ledger; relative to the folder of this file.",
    )
    begins_with: Literal["genesis", "snapshot"] = Field(
        default="genesis",
        description='Where a node without blocks begins: "genesis" fetches and executes every block; "snapshot" '
        "takes the state after a late block from the other members, checked against what they decided, and cannot "
        "tell what lies below it. Where no member has one, it begins with genesis; where no member gives the first "
        "block any more, with a snapshot. `p2pnode join request` writes what fits the chain.",
    )
    log_format: Literal["console", "json"] = Field(
        default="console",
        description='Form of the log on standard error: "console" for people, "json" for machines.',
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description='Least urgent message that is logged: "debug", "info", "warning" or "error".',
    )


class PeerEntry(_Table):
    """Where to find another member."""

    address: str = Field(
        pattern="^[0-9a-f]{64}$",
        description="Hash of its node key, in hex: the identity that its certificate must show.",
    )
    host: _HostName = Field(description="Name or IP address.")
    port: _Port = Field(description="Port of its [p2p] table.")

    @property
    def address_bytes(self) -> Address:
        """The address in the form that the protocol uses."""
        return Address(bytes.fromhex(self.address))


class PeerToPeerTable(_Table):
    """The mesh of members: mutual TLS, consensus, transactions and offers."""

    host: _HostName = Field(default="127.0.0.1", description="Address to listen on for other members.")
    port: _Port = Field(description="Port to listen on for other members.")
    peers: tuple[PeerEntry, ...] = Field(
        default=(),
        max_length=PEERS_MAX,
        description="The other members: address (hash of the node key, in hex, that the "
        "certificate of the peer must show), host and port. Host and port are for the first contact: members tell "
        "each other where they are.",
    )
    advertise: tuple[_Place, ...] = Field(
        default=(),
        max_length=ADVERTISED_MAX,
        description='Where the other members reach this node, as "name", "name:port" or "[address]:port", in the '
        "order to try. Without: `host`, and the name or address in its certificate, at `port`.",
    )

    @model_validator(mode="after")
    def _peers_differ(self) -> "PeerToPeerTable":
        addresses = [peer.address for peer in self.peers]
        if len(set(addresses)) != len(addresses):
            raise ValueError("two peers have the same address")
        return self


class ApiTable(_Table):
    """The REST API, metrics and health of this node."""

    host: _HostName = Field(
        default="127.0.0.1",
        description="Address to listen on for the REST API and metrics. It has no access control: keep it on "
        "loopback, or inside a network of your own.",
    )
    port: _Port = Field(description="Port to listen on for the REST API and metrics.")
    host_names: tuple[_ServedName, ...] = Field(
        default=(),
        max_length=HOST_NAMES_MAX,
        description="Further names and addresses, without port, by which others reach this node, such as "
        '["meter.lan"]: requests for any name but these, `host` and this machine\'s loopback are refused, so that '
        "no page in a browser reads the API under a name of its own.",
    )


class MempoolTable(_Table):
    """Transactions that wait for a block."""

    transactions_max: int = Field(
        default=20_000, ge=1, le=1_000_000, description="Most waiting transactions of all senders together."
    )
    size_bytes_max: int = Field(
        default=32 * 1024 * 1024,
        ge=64 * 1024,
        le=1024 * 1024 * 1024,
        description="Most bytes of waiting transactions of all senders together.",
    )
    sender_transactions_max: int = Field(
        default=1_024,
        ge=1,
        le=1_000_000,
        description="Most waiting transactions of one sender; above it, submitting answers 429.",
    )


class MeterTable(_Table):
    """The household's meter. Without this table the node only validates."""

    household_id: str = Field(
        min_length=1,
        max_length=64,
        description="The household whose rows of the readings file this meter measures.",
    )
    readings_file: _Path = Field(
        default=Path(READINGS_NAME),
        description="CSV file of readings (timestamp, household_id, consumption_wh, generation_wh); relative "
        "to home.",
    )
    hours: int = Field(default=0, ge=0, description="How many hours of the file to measure, from its first; 0: all.")
    window_hours: int = Field(
        default=8,
        ge=1,
        le=168,
        description="How many hours may be in trading at once: the meter measures the next hour when an "
        "earlier one is settled.",
    )
    grace_period_s: float = Field(
        default=5.0,
        ge=0.1,
        le=86_400.0,
        description="Seconds after its first decided reading in which an hour waits for the readings of the "
        "other members, before trading in it begins without them.",
    )


class PriceTable(_Table):
    """The price policy of this household: one fixed price, in micro-tokens per kWh."""

    sell_micro_per_kwh: _Price = Field(
        default=SELL_PRICE_MICRO_PER_KWH,
        description="Price asked for surplus energy, in micro-tokens per kWh (200000: 0.20 tokens). Sensible "
        "between the feed-in tariff (80000) and the retail price (300000), which the chain enforces.",
    )
    buy_max_micro_per_kwh: _Price = Field(
        default=RETAIL_PRICE_MICRO_PER_KWH,
        description="Highest price paid for a neighbour's energy, in micro-tokens per kWh; the retail price "
        "by default.",
    )


class Configuration(BaseModel):
    """Everything that an operator decides about one node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: NodeTable
    p2p: PeerToPeerTable
    api: ApiTable
    mempool: MempoolTable = MempoolTable()
    meter: MeterTable | None = None
    price: PriceTable = PriceTable()

    @property
    def home(self) -> Home:
        """The node's folder."""
        return Home(self.node.home)


class _LoadedConfiguration(BaseSettings, Configuration):
    """A configuration whose values may come from the environment."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENVIRONMENT_PREFIX,
        env_nested_delimiter=ENVIRONMENT_DELIMITER,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  (the signature is pydantic's)
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Returns where values come from, the strongest first: the environment, then the file."""
        return env_settings, init_settings


TABLES: Final = tuple(Configuration.model_fields)


def load_configuration(path: Path) -> Configuration:
    """Returns the validated configuration, its paths absolute.

    Args:
        path: a `meter.toml`.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML, a key is missing, unknown or has a bad
            value, there or in the environment; names file or variable, table and key.
    """
    data = _read_tables(path)
    try:
        configuration = _LoadedConfiguration(**data)
    except ValidationError as error:
        raise ConfigurationError(_explain(path, error)) from None
    except SettingsError as error:
        raise ConfigurationError(f"environment variable {ENVIRONMENT_PREFIX}...: {error}") from None
    return _with_absolute_paths(configuration, path.resolve().parent)


def _read_tables(path: Path) -> dict[str, Any]:
    try:
        text = read_bounded(path, size_bytes_max=FILE_SIZE_BYTES_MAX).decode("utf-8")
        _refuse_long_keys(text)
        data = tomllib.loads(text)
    except OSError as error:
        inside = path / CONFIGURATION_NAME
        hint = f"; is {inside} meant?" if inside.is_file() else ""
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}{hint}") from None
    except FileTooLargeError as error:
        raise ConfigurationError(f"{path}: {error}, which no configuration is") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path}: is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: is not TOML: {error}") from None
    for key in data:
        if key not in TABLES:
            raise ConfigurationError(f"{path}: unknown table [{_shortened(key)}]; known are {', '.join(TABLES)}")
    for variable in os.environ:
        _check_variable(variable)
    return data


def _refuse_long_keys(text: str) -> None:
    """The parser takes memory by the square of a key's parts: 15 kB of `a.a.a...` took 100 MB."""
    for number, line in enumerate(text.splitlines(), start=1):
        if line.count(".") > LINE_DOTS_MAX:
            raise ValueError(f"line {number} has more than {LINE_DOTS_MAX} dots")


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_LENGTH_MAX else f"{text[:SHOWN_LENGTH_MAX]}..."


def _check_variable(variable: str) -> None:
    if not variable.upper().startswith(ENVIRONMENT_PREFIX) or ENVIRONMENT_DELIMITER not in variable:
        return
    table = variable.upper().removeprefix(ENVIRONMENT_PREFIX).partition(ENVIRONMENT_DELIMITER)[0].lower()
    if table not in TABLES:
        raise ConfigurationError(
            f"environment variable {variable}: unknown table [{table}]; known are {', '.join(TABLES)}"
        )


def _explain(path: Path, error: ValidationError) -> str:
    """Returns one line for all that is wrong, each with where it stands."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{_place(path, tuple(map(str, problem['loc'])))}: {_reason(problem['type'], problem['msg'])}"
        for problem in problems[:PROBLEMS_TOLD_MAX]
    ]
    more = len(problems) - len(told)
    return "; ".join([*told, f"and {more} more"] if more else told)


def _place(path: Path, location: tuple[str, ...]) -> str:
    table, key = location[0], _shortened(".".join(location[1:]))
    variable = ENVIRONMENT_PREFIX + ENVIRONMENT_DELIMITER.join(location[:2]).upper()
    given = {name.upper() for name in os.environ}
    origin = f"environment variable {variable}" if variable in given else f"{path}"
    return f"{origin}: [{table}] {key}" if key else f"{origin}: [{table}]"


def _reason(kind: str, message: str) -> str:
    if kind == "extra_forbidden":
        return "unknown key"
    if kind == "missing":
        return "is missing"
    return message


def _with_absolute_paths(configuration: Configuration, base: Path) -> Configuration:
    home = (base / configuration.node.home).resolve()
    changes: dict[str, Any] = {"node": configuration.node.model_copy(update={"home": home})}
    meter = configuration.meter
    if meter is not None:
        changes["meter"] = meter.model_copy(update={"readings_file": home / meter.readings_file})
    return configuration.model_copy(update=changes)
