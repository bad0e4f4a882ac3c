"""Keeps the memory of a node that runs for months from growing by fragmentation of the C heap.

glibc raises the size from which a block gets a mapping of its own whenever such a block is freed, up to 32 MiB. From
then on TLS buffers and message bodies lie on the heap between small objects that live long, and the heap only grows:
a flood of small messages over links that come and go was seen to cost 1 MiB per 10,000 messages. With the size fixed,
it costs nothing that stays.
"""

import ctypes
from typing import Final

OWN_MAPPING_SIZE_BYTES: Final = 128 * 1024
"""Blocks from this size on are mapped and unmapped on their own: glibc's initial value, kept."""

_M_MMAP_THRESHOLD: Final = -3
"""Of `mallopt`, from glibc's malloc.h. Setting it ends the adjustment."""


def keep_large_blocks_off_the_heap() -> bool:
    """Fixes the size for this process; False where the C library is another one, which needs nothing of the kind."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, OWN_MAPPING_SIZE_BYTES))
