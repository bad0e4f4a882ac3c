"""`p2pnode init` and `p2pnode genesis`: four homes found a street; each wrong step is one clear line."""

import io
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from node.admission.authority import Authority
from node.admission.founding_file import read_founding
from node.admission.identity import load_key
from node.admission.request import read_request
from node.cli.main import main
from node.home.configuration import load_configuration
from node.home.folder import Home
from node.home.genesis_file import load_genesis
from tests.support.testnet import refused

Command = Callable[..., str]


@pytest.fixture
def p2pnode(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """Runs a command in the test's folder, which must end with a code; returns what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, exit_code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["p2pnode", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        text = printed.out + printed.err
        assert (ended.value.code or 0) == exit_code, text
        assert "Traceback" not in text
        assert (printed.err == "") == (exit_code == 0), text
        return text

    return run


class Street:
    """Four homes made by the command, certified by an authority in the test."""

    def __init__(self, p2pnode: Command) -> None:
        authority = Authority("street")
        Path("ca.crt").write_bytes(authority.certificate_pem())
        self.certificates: list[Path] = []
        self.cards: list[Path] = []
        for number in range(1, 5):
            place = ("--host", "127.0.0.1", "--port", str(7_000 + number))
            p2pnode("init", f"home{number}", "--name", f"home{number}", *place)
            certificate = Path(f"home{number}.crt")
            asked = read_request(Path(f"home{number}/node.csr"))
            host, port = asked.endpoint
            chain = authority.issue(asked.node_key, host=host, port=port, meter=asked.meter)
            certificate.write_bytes(chain)
            self.certificates.append(certificate)
            card = Path(f"home{number}.card")
            p2pnode("names", "share", "--config", f"home{number}/meter.toml", "--output", card)
            self.cards.append(card)


@pytest.fixture
def street(p2pnode: Command) -> Street:
    made = Street(p2pnode)
    p2pnode("genesis", "new", "street", "--network", "Sunny Street", "--authority", "ca.crt")
    return made


FOUNDING = Path("street/founding.json")


def test_init_needs_nothing_and_keeps_keys_private(p2pnode: Command) -> None:
    assert "give p2pnode-home/node.csr to the authority" in p2pnode("init")
    home = Home(Path("p2pnode-home"))
    assert stat.S_IMODE(home.directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(key.stat().st_mode) for key in (home.node_key, home.meter_key)} == {0o600}
    configuration = load_configuration(home.configuration)
    assert (configuration.p2p.port, configuration.api.port, configuration.meter) == (7_000, 8_000, None)
    asked = read_request(home.request)
    assert asked.meter is not None
    assert (asked.name, asked.meter.capacity_w) == (configuration.node.name, 43_000)
    assert "is there already" in p2pnode("init", exit_code=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--host", "not a host"), "--host not a host: is neither a name nor an address"),
        (("--host", "a:1"), "is neither a name nor an address"),
        (("--host", ""), "is neither"),
        (("--name", ""), "--name: has 0 characters"),
        (("--name", "x" * 65), "--name"),
        (("--household", ""), "--household"),
    ],
)
def test_init_refuses_what_is_no_home(p2pnode: Command, options: tuple[str, str], words: str) -> None:
    assert words in p2pnode("init", "home", *options, exit_code=1)
    assert not Path("home").exists()


def test_a_street_is_founded_by_the_commands(p2pnode: Command, street: Street) -> None:
    said = p2pnode("genesis", "add", FOUNDING, *street.certificates, *street.cards)
    assert "4 members, 3 must agree on every block; 1 may be down or lie." in said
    assert "Not signed yet: home1, home2, home3, home4." in said
    for number in range(1, 5):
        signed = p2pnode("genesis", "sign", FOUNDING, "--config", f"home{number}/meter.toml", "--yes")
        assert f"p2pnode start --config home{number}/meter.toml" in signed
    assert "All have signed." in p2pnode("genesis", "add", FOUNDING, *Path("street").glob("*.signature"))
    shown = p2pnode("genesis", "show", FOUNDING)
    assert "All have signed." in shown
    assert len({load_genesis(Home(Path(f"home{number}"))).start_ms for number in range(1, 5)}) == 1


def test_the_streets_tariffs_are_exact(p2pnode: Command) -> None:
    Path("ca.crt").write_bytes(Authority("street").certificate_pem())
    tariffs = ("--retail", "0.345678", "--feed-in", "0.08", "--grid-fee", "0")
    p2pnode("genesis", "new", "street", "--network", "street", "--authority", "ca.crt", *tariffs)
    rules = read_founding(FOUNDING).genesis
    prices = (rules.price_max_micro_per_kwh, rules.price_min_micro_per_kwh, rules.grid_fee_micro_per_kwh)
    assert prices == (345_678, 80_000, 0)


@pytest.mark.parametrize(
    ("options", "clusters"),
    [
        ((), (10, 31)),
        (("--cluster-size", "7", "--cluster-members-min", "13"), (7, 13)),
        (("--cluster-size", "9", "--captured-max", "0.0001"), (9, 31)),
        (("--cluster-size", "7", "--captured-max", "1/1000000", "--cluster-members-min", "257"), (7, 257)),
    ],
)
def test_clusters_are_as_large_as_whoever_begins_says(
    p2pnode: Command, options: tuple[str, ...], clusters: tuple[int, int]
) -> None:
    """Where nothing is ever drawn, nothing is ever captured."""
    Path("ca.crt").write_bytes(Authority("street").certificate_pem())
    p2pnode("genesis", "new", "street", "--network", "street", "--authority", "ca.crt", *options)
    found = read_founding(FOUNDING).genesis.clusters
    assert (found.size, found.members_min) == clusters
    told = " ".join(p2pnode("genesis", "show", FOUNDING).split())
    drawn = f"From {found.members_min} members on, {found.size} are drawn for each block; none of them is honest in"
    assert (drawn in told) is (found.members_min < 257)
    assert ("no clusters are drawn" in told) is (found.members_min == 257)


@pytest.mark.parametrize(
    ("options", "exit_code", "words"),
    [
        (("--retail", "0.3456789"), 2, "six decimals"),
        (("--retail", "-1"), 2, "six decimals"),
        (("--retail", "nan"), 2, "six decimals"),
        (("--retail", "free"), 2, "is no number of tokens"),
        (("--retail", "0.05"), 1, "--feed-in 0.08 is above --retail 0.05"),
        (("--cluster-size", "6"), 2, "--cluster-size"),
        (("--cluster-size", "31"), 1, "--cluster-size 31 must be below --cluster-members-min 31"),
        (
            ("--cluster-size", "7", "--captured-max", "1e-4"),
            2,
            "is no chance, such as 0.001",
        ),
        (
            ("--cluster-size", "7", "--captured-max", "0.0001"),
            1,
            "of clusters of 7, drawn of 256 members of which 85 lie, one in 2,666 has no honest member: its block "
            "comes up to two thirds of a slot later. At most one in 10,000 was asked for: clusters of 9 do",
        ),
        (("--captured-max", "1/100000000000000000000000000000"), 1, "no cluster of 30 or fewer does"),
        (("--captured-max", "0"), 2, "is no chance"),
        (("--captured-max", "1.1"), 2, "is no chance"),
        (("--captured-max", "1/0"), 2, "is no chance"),
        (("--captured-max", "often"), 2, "is no chance"),
        (("--network", "x" * 65), 1, "--network"),
        (("--network", ""), 1, "--network"),
        (("--authority", "missing.crt"), 1, "missing.crt cannot be read"),
    ],
)
def test_rules_that_are_none_make_nothing(
    p2pnode: Command, options: tuple[str, ...], exit_code: int, words: str
) -> None:
    Path("ca.crt").write_bytes(Authority("street").certificate_pem())
    usual = ("--network", "street", "--authority", "ca.crt")
    said = p2pnode("genesis", "new", "street", *usual, *options, exit_code=exit_code)
    assert words in " ".join(said.replace("│", " ").split())
    assert not Path("street").exists()


def test_one_refused_certificate_adds_none(p2pnode: Command, street: Street) -> None:
    before = FOUNDING.read_bytes()
    first, second, *_ = street.certificates
    address = load_key(Path("home1/node.key")).address.hex()[:16]
    said = p2pnode("genesis", "add", FOUNDING, first, second, first, exit_code=1)
    assert said.startswith(f"p2pnode: home1.crt: {address}: duplicate_key")
    assert said.endswith("Nothing was added\n")
    assert FOUNDING.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff\x00", b'{"type": "p2pnode-founding-signature"}', b"7"])
def test_what_is_neither_certificate_nor_signature_is_refused(
    p2pnode: Command, street: Street, content: bytes
) -> None:
    Path("odd").write_bytes(content)
    before = FOUNDING.read_bytes()
    assert "odd: is no certificate" in p2pnode("genesis", "add", FOUNDING, "odd", exit_code=1)
    assert "odd: is no founding" in p2pnode("genesis", "show", "odd", exit_code=1)
    assert FOUNDING.read_bytes() == before


def test_who_says_no_founds_nothing(p2pnode: Command, street: Street, monkeypatch: pytest.MonkeyPatch) -> None:
    p2pnode("genesis", "add", FOUNDING, *street.certificates)
    before = sorted(Path("home1").iterdir())
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert "nothing was changed" in p2pnode("genesis", "sign", FOUNDING, "--config", "home1/meter.toml", exit_code=1)
    assert sorted(Path("home1").iterdir()) == before


def test_a_home_without_genesis_says_how_to_get_one(p2pnode: Command, street: Street) -> None:
    assert "p2pnode genesis sign" in refused(Path.cwd(), "start", "--config", "home1/meter.toml")
