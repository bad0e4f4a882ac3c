"""What was appended is there after SIGKILL at any moment; after a failed write nothing more is accepted."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.errors import LedgerBusy
from ledger.ledger import Ledger
from ledger.verify import verify_ledger
from tests.support.contracts import make_genesis

ROOT = Path(__file__).parents[2]


def start_appender(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.ledger_appender", str(directory), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_every_block_whose_append_returned_survives_sigkill(tmp_path):
    genesis = make_genesis().genesis
    returned = 0
    for blocks in (1, 13, 40, 77):
        appender = start_appender(tmp_path / "ledger")
        for _ in range(blocks):
            returned = int(appender.stdout.readline())
        appender.send_signal(signal.SIGKILL)
        rest = appender.stdout.read().splitlines()
        appender.stdout.close()
        assert appender.wait() == -signal.SIGKILL
        returned = int(rest[-1]) if rest and rest[-1] else returned
        assert not (tmp_path / "ledger" / "seal").exists()
        report = verify_ledger(tmp_path / "ledger", genesis, lambda _height, _tip: None)
        assert report.holds, report.damage
        assert returned <= report.tip <= returned + 1, "a block is lost, or one came from nowhere"
    ledger = Ledger.open(tmp_path / "ledger", genesis)
    assert ledger.height == report.tip
    assert all(ledger.block(height) is not None for height in range(1, ledger.height + 1))
    ledger.close()


def test_after_a_failed_write_nothing_more_is_accepted(tmp_path):
    appender = start_appender(tmp_path / "ledger", str(200_000))
    lines = appender.stdout.read().splitlines()
    appender.stdout.close()
    assert appender.wait() == 0
    outcome = json.loads(lines[-1])
    returned = int(lines[-2])
    assert outcome == {
        "height": returned,
        "still_height": returned,
        "refused": ["append", "persist_undecided"],
    }
    assert not (tmp_path / "ledger" / "seal").exists(), "sealed what nobody knows to be whole"
    ledger = Ledger.open(tmp_path / "ledger", make_genesis().genesis)
    assert returned <= ledger.height <= returned + 1
    ledger.close()


def test_another_process_keeps_everyone_out(tmp_path):
    appender = start_appender(tmp_path / "ledger")
    try:
        assert int(appender.stdout.readline()) == 1
        with pytest.raises(LedgerBusy):
            Ledger.open(tmp_path / "ledger", make_genesis().genesis)
        with pytest.raises(LedgerBusy):
            verify_ledger(tmp_path / "ledger", make_genesis().genesis, lambda _height, _tip: None)
    finally:
        appender.kill()
        appender.stdout.close()
        appender.wait()
