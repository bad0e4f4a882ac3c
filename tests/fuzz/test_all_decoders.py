"""100,000 damaged and grown inputs, spread over all decoders; `make fuzz` runs five million."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CASES = 100_000


def test_every_decoder_refuses_as_documented_or_reads_what_is_written_back_to_the_same() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "run", "--cases", str(CASES), "--seed", "1"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4_000:] + ran.stdout[-1_000:]
    assert f"{CASES:,} cases ran in" in ran.stdout
