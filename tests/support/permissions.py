"""File permissions that count for root too, whose tests would otherwise open everything."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

CAPABILITIES_VERSION: Final = 0x2008_0522
"""_LINUX_CAPABILITY_VERSION_3: two words of each set."""

OVERRIDES: Final = 1 << 1 | 1 << 2
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: root opens whatever the file's mode says."""


@contextmanager
def modes_count() -> Iterator[None]:
    """Makes this thread obey the modes of files for a `with` block; for anyone but root they count anyway."""
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(CAPABILITIES_VERSION, 0)
    sets = (ctypes.c_uint32 * 6)()
    assert libc.capget(header, sets) == 0
    effective = sets[0]
    sets[0] = effective & ~OVERRIDES
    assert libc.capset(header, sets) == 0
    try:
        yield
    finally:
        sets[0] = effective
        assert libc.capset(header, sets) == 0
