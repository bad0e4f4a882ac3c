"""Large blocks stay off the heap even after larger ones were freed."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from node.home.heap import OWN_MAPPING_SIZE_BYTES, keep_large_blocks_off_the_heap

class Information(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

mallinfo = ctypes.CDLL(None).mallinfo2
mallinfo.restype = Information
if sys.argv[1] == "kept":
    assert keep_large_blocks_off_the_heap()
freed = bytes(16 * OWN_MAPPING_SIZE_BYTES)
del freed
before = mallinfo().hblks
block = bytes(2 * OWN_MAPPING_SIZE_BYTES)
print(mallinfo().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc moves the size")
@pytest.mark.parametrize(("how", "mappings"), [("kept", "1"), ("as it is", "0")])
def test_a_large_block_has_its_own_mapping(how: str, mappings: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True, timeout=60
    )
    assert found.stdout.strip() == mappings
