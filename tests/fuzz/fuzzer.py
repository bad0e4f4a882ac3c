"""Runs portions of cases: each with its own random numbers, seeds that grow, and bounds on memory and work."""

import atexit
import resource
import signal
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from random import Random
from tempfile import mkdtemp
from types import FrameType
from typing import Final

from cryptography.utils import CryptographyDeprecationWarning

from tests.fuzz.ceremony_decoders import ceremony_decoders
from tests.fuzz.decoder import Decoder, Verdict, WrongError, judge
from tests.fuzz.file_decoders import file_decoders
from tests.fuzz.folder_decoders import folder_decoders
from tests.fuzz.joining_decoders import joining_decoders
from tests.fuzz.mutations import Mutator
from tests.fuzz.record_decoders import record_decoders
from tests.support.long_chain import scratch
from tests.support.stories import StoryChain

MEMORY_BYTES_MAX: Final = 64 * 1024 * 1024
"""More than this on top of what the process has, and decoding ends in a MemoryError: inputs have 64 KiB at most. A
thousand nested arrays that each claim 16,384 elements would take 130 MB.
"""

CPU_S_MAX: Final = 5
"""CPU time of one case, thousands of times what the slowest needs: who takes longer has no bound."""

KEPT_MAX: Final = 200
KEPT_SIZE_BYTES_MAX: Final = 8 * 1024
"""Inputs kept as further seeds: how many, and how long. Longer ones would only make the rest slow."""

SPECIMENS_SHARE: Final = 0.4
"""Of the cases that start from a specimen; the rest from whatever has grown as well."""

KEPT_SHARE: Final = 0.05
"""Of the inputs that decoded as others before them."""

FINDINGS_MAX: Final = 5
"""Of one portion: the first ones tell what is wrong."""

SPECIMENS_SEED: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some cases of one decoder; the same portion runs the same cases in any process."""

    decoder: str
    seed: int
    number: int
    cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An input that a decoder dealt with wrongly."""

    decoder: str
    what: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a portion."""

    portion: Portion
    cases: int
    """Those that ran: all, unless it found too much."""
    decoded: int
    reasons: frozenset[str]
    """Different refusals, and different kinds of values."""
    kept: int
    cpu_s: float
    findings: tuple[Finding, ...]
    digest: bytes
    """Of all inputs and what became of them."""


def run_portion(portion: Portion, folder: Path) -> Result:
    """Runs a portion on the decoder of its name, whose files lie somewhere in `folder`."""
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)  # of certificates that it means to refuse one day
    return fuzz(decoders(folder)[portion.decoder], portion)


def fuzz(decoder: Decoder, portion: Portion) -> Result:
    """Makes a portion's inputs and judges them; what decoded, or was refused for a new reason, grows further."""
    random = Random(f"{portion.seed}/{portion.decoder}/{portion.number}")
    mutator = Mutator(random, is_text=decoder.is_text)
    seeds, reasons, findings = list(decoder.specimens), set[str](), list[Finding]()
    open_before = open_files()
    hashed, decoded, cases, start_s = blake2b(digest_size=16), 0, 0, time.process_time()
    with bounded():
        while cases < portion.cases and len(findings) < FINDINGS_MAX:
            cases += 1
            first = decoder.specimens if random.random() < SPECIMENS_SHARE else seeds
            data = mutator.mutate(random.choice(first), random.choice(seeds))
            try:
                verdict = _bounded_judge(decoder, data)
            except WrongError as wrong:
                findings.append(Finding(decoder=decoder.name, what=str(wrong), data=data))
                continue
            decoded += verdict.decoded
            hashed.update(data + verdict.reason.encode())
            if verdict.reason not in reasons or (verdict.decoded and random.random() < KEPT_SHARE):
                reasons.add(verdict.reason)
                _keep(decoder, seeds, decoder.kept(data), random)
    left_open = open_files() - open_before
    if left_open > 0:
        findings.append(Finding(decoder=decoder.name, what=f"{left_open} files were left open", data=b""))
    return Result(
        portion=portion,
        cases=cases,
        decoded=decoded,
        reasons=frozenset(reasons),
        kept=len(seeds) - len(decoder.specimens),
        cpu_s=time.process_time() - start_s,
        findings=tuple(findings),
        digest=hashed.digest(),
    )


def open_files() -> int:
    """Returns how many files and sockets this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _keep(decoder: Decoder, seeds: list[bytes], data: bytes, random: Random) -> None:
    """Adds a seed; when there are enough, in the place of an earlier one that is no specimen."""
    if not data or len(data) > KEPT_SIZE_BYTES_MAX:
        return
    if len(seeds) < len(decoder.specimens) + KEPT_MAX:
        seeds.append(data)
    else:
        seeds[random.randrange(len(decoder.specimens), len(seeds))] = data


# --- bounds ----------------------------------------------------------------------------------------------------


class TooMuchWorkError(BaseException):
    """A case takes too long; not an Exception, so that no decoder takes it for an error of the input."""


def _stop(number: int, frame: FrameType | None) -> None:
    raise TooMuchWorkError


def _bounded_judge(decoder: Decoder, data: bytes) -> Verdict:
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_S_MAX)
    try:
        return judge(decoder, data)
    except TooMuchWorkError:
        raise WrongError(f"took more than {CPU_S_MAX} s of CPU time for {len(data)} bytes") from None


@contextmanager
def bounded() -> Iterator[None]:
    """Bounds this process: what it may allocate from here on, and what a case may take."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY_BYTES_MAX, before[1]))
    handler = signal.signal(signal.SIGVTALRM, _stop)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


# --- all decoders ----------------------------------------------------------------------------------------------


@cache
def decoders(folder: Path | None = None) -> Mapping[str, Decoder]:
    """Returns all of this process by name; their files lie in `folder`, or in one that goes with the process."""
    directory = _folder.enter_context(scratch()) if folder is None else Path(mkdtemp(dir=folder))
    random = Random(SPECIMENS_SEED)
    chain = StoryChain(directory / "chain")
    found = [
        *record_decoders(chain.ledger, random),
        *file_decoders(chain, directory, random),
        *ceremony_decoders(directory, random),
        *folder_decoders(chain, directory, random),
        *joining_decoders(directory, random),
    ]
    chain.ledger.close()
    return {decoder.name: decoder for decoder in found}


_folder: Final = ExitStack()
atexit.register(_folder.close)
