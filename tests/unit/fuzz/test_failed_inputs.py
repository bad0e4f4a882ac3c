"""Inputs that a decoder once dealt with wrongly, and what it says of them now."""

import base64
import json
from collections.abc import Callable

import pytest

from tests.fuzz.decoder import judge
from tests.fuzz.fuzzer import bounded, decoders, open_files


def with_value(name: str, field: str, value: str) -> Callable[[], bytes]:
    """Returns the first specimen of a JSON decoder with other text as the value of a field."""

    def altered() -> bytes:
        text = decoders()[name].specimens[0].decode()
        end = "\n" if text.endswith("}\n") and text.count("\n") == 1 else ""
        shown = json.dumps(json.loads(text)[field])
        parts = text.split(f'"{field}":')
        assert len(parts) == 2
        assert end or "\n" in text
        return f'{parts[0]}"{field}":{parts[1].replace(shown, value, 1)}'.encode()

    return altered


def replaced(name: str, old: bytes, new: bytes) -> Callable[[], bytes]:
    """Returns the first specimen of a decoder with other bytes in one place."""

    def altered() -> bytes:
        specimen = decoders()[name].specimens[0]
        assert old in specimen
        return specimen.replace(old, new, 1)

    return altered


def other_version() -> bytes:
    """Returns a PEM certificate of X.509 version 4, which there is not."""
    lines = decoders()["certificate"].specimens[0].splitlines()
    encoded = base64.b64decode(b"".join(lines[1:-1]))
    assert VERSION_3 in encoded
    body = base64.encodebytes(encoded.replace(VERSION_3, VERSION_4, 1))
    return lines[0] + b"\n" + body + lines[-1] + b"\n"


VERSION_3 = b"\xa0\x03\x02\x01\x02"
VERSION_4 = b"\xa0\x03\x02\x01\x03"
MINIMAL = b'[node]\nname = "node1"\n[p2p]\nport = 7001\n[api]\nport = 8001\n'
FAILED: list[tuple[str, str, Callable[[], bytes]]] = [
    ("certificate", "is not a certificate", other_version),
    ("certificate-of-a-peer", "damaged certificate", replaced("certificate-of-a-peer", VERSION_3, VERSION_4)),
    ("private-key", "is not a private key", replaced("private-key", b"BQYDK2Vw", b"BQYDK2Vx")),  # says Ed448
    (
        "genesis-json",
        "version 18446744073709551616",
        with_value("genesis-json", "protocol_version", "18446744073709551616"),
    ),
    ("genesis-json", "is damaged", with_value("genesis-json", "start_ms", "18446744073709551616")),
    ("journal-of-promises", "is damaged", lambda: b'{"a":' * 100_000 + b"\n"),
    ("journal-of-promises", "is damaged", replaced("journal-of-promises", b'":', b'": ')),
    (
        "journal-of-promises",
        "holds something else",
        with_value("journal-of-promises", "interval_start_ms", "Infinity"),
    ),
    ("journal-of-promises", "holds something else", with_value("journal-of-promises", "interval_start_ms", "5.0")),
    (
        "journal-of-promises",
        "interval that starts at no time",
        with_value("journal-of-promises", "interval_start_ms", "1" * 20),
    ),
    ("journal-of-promises", "holds something else", replaced("journal-of-promises", b"9ba4", b"9BA4")),
    ("journal-of-salts", "holds something else", with_value("journal-of-salts", "interval_start_ms", "Infinity")),
    ("journal-of-salts", "holds something else", replaced("journal-of-salts", b"consumption_wh", b"consumption")),
    (
        "journal-of-transactions",
        "holds something else",
        replaced("journal-of-transactions", b'{"raw":"', b'{"raw":" '),
    ),
    ("meter.toml", "is not TOML", lambda: b"a = " + b"[" * 5_000),
    ("meter.toml", "is not TOML", lambda: b"a = " + b"9" * 4_400),
    ("meter.toml", "has more than 256 dots", lambda: MINIMAL + b"a" + b".a" * 20_000 + b" = 1\n"),
    ("meter.toml", "unknown table", lambda: b"[" + b"a" * 10_000 + b"]\n"),
    ("meter.toml", "unknown key", lambda: MINIMAL + b"k" * 10_000 + b" = 1\n"),
    ("meter.toml", "and 4981 more", lambda: MINIMAL + b"".join(b"key%d = 1\n" % number for number in range(5_001))),
    ("meter.toml", "NUL byte", lambda: MINIMAL.replace(b"[p2p]", b'home = "\\u0000"\n[p2p]')),
    ("http-body", "invalid_parameter", lambda: b'{"' + b"x" * 60_000 + b'":1}'),
    ("http-body", "invalid_parameter", lambda: json.dumps({f"key{number}": 1 for number in range(5_000)}).encode()),
    ("state-key", "at most 300 characters", lambda: b"agenda:" + b"9" * 4_400),
    ("state-key", "out of range", lambda: b"interval:9999-12-31T23:00:00-01:00"),  # in UTC a year that there is not
    ("receipt-file", "its format is", lambda: b'{"format": "' + b"x" * 60_000 + b'"}'),
]


@pytest.mark.parametrize(
    ("name", "refusal", "data"), FAILED, ids=[f"{row[0]}-{place}" for place, row in enumerate(FAILED)]
)
def test_what_once_failed_is_refused(name: str, refusal: str, data: Callable[[], bytes]) -> None:
    decoder, content = decoders()[name], data()
    with bounded():
        assert not judge(decoder, content).decoded
    with pytest.raises(decoder.refusals, match=refusal):
        decoder.read(content)


def test_a_damaged_journal_is_not_left_open() -> None:
    decoder, before = decoders()["journal-of-salts"], open_files()
    for _ in range(3):
        assert not judge(decoder, b"{\n").decoded
    assert open_files() == before
