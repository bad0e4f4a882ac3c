"""The durable sign state: what survives a crash, what is refused, and that it never comes back older than signed."""

import errno
import os
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from node.errors import SignStateError, SignStateFault
from node.home.sign_state import (
    COPY_DISTANCE_BYTES,
    FILE_SIZE_BYTES,
    MAGIC,
    PAYLOAD_SIZE_BYTES_MAX,
    POSITION_SIZE_BYTES,
    SignStateFile,
    SignStateStore,
)
from tests.support.disk import watch_syncs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sign-state"


def saved(path: Path, *payloads: bytes) -> bytes:
    """Makes a sign state that went through `payloads`; returns the file's bytes."""
    SignStateFile.create(path, payloads[0])
    file = SignStateFile(path)
    for payload in payloads[1:]:
        file.save(payload)
    file.close()
    return path.read_bytes()


def loaded(path: Path) -> bytes:
    file = SignStateFile(path)
    try:
        return file.load()
    finally:
        file.close()


@dataclass
class Device:
    """A disk in memory: what a start does with bytes, thousands of times."""

    content: bytearray
    writes: list[tuple[int, int]] = field(default_factory=list)
    """Where, and how many bytes."""

    def read(self) -> bytes:
        return bytes(self.content)

    def write(self, data: bytes, offset: int) -> None:
        self.writes.append((offset, len(data)))
        self.content[offset : offset + len(data)] = data

    def close(self) -> None:
        pass


def loaded_from(content: bytes) -> bytes:
    return SignStateStore(Device(bytearray(content)), Path("sign-state")).load()


def fault_of(path: Path) -> SignStateFault:
    with pytest.raises(SignStateError) as caught:
        SignStateFile(path)
    assert str(path) in str(caught.value)
    return caught.value.fault


def record_bytes() -> list[int]:
    """Where the bytes of all four short records lie, with some of the zeros behind each."""
    return [start + index for start in range(0, FILE_SIZE_BYTES, COPY_DISTANCE_BYTES) for index in range(80)]


@pytest.mark.parametrize("saves", range(5))
def test_the_newest_payload_comes_back(path: Path, saves: int) -> None:
    payloads = [f"state {number}".encode() for number in range(saves + 1)]
    saved(path, *payloads)
    assert loaded(path) == payloads[-1]


def test_a_payload_may_be_empty_or_as_long_as_the_limit(path: Path) -> None:
    saved(path, b"", b"x" * PAYLOAD_SIZE_BYTES_MAX)
    assert loaded(path) == b"x" * PAYLOAD_SIZE_BYTES_MAX


def test_a_payload_past_the_limit_is_our_own_bug(path: Path) -> None:
    SignStateFile.create(path, b"")
    file = SignStateFile(path)
    with pytest.raises(AssertionError):
        file.save(b"x" * (PAYLOAD_SIZE_BYTES_MAX + 1))
    file.close()


def test_only_its_owner_may_read_it(path: Path) -> None:
    mask = os.umask(0)
    try:
        SignStateFile.create(path, b"a")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_created_once(path: Path) -> None:
    SignStateFile.create(path, b"a")
    with pytest.raises(SignStateError) as caught:
        SignStateFile.create(path, b"b")
    assert caught.value.fault is SignStateFault.EXISTS
    assert loaded(path) == b"a"


def test_a_missing_one_is_refused_and_not_made(path: Path) -> None:
    assert fault_of(path) is SignStateFault.MISSING
    assert not path.exists()


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    assert fault_of(path) is SignStateFault.DAMAGED


def test_a_write_torn_at_any_byte_leaves_the_record_before_or_itself(path: Path) -> None:
    before = saved(path, b"zero", b"the first", b"the second one")
    path.unlink()
    after = saved(path, b"zero", b"the first", b"the second one", b"and the third")
    changed = [index for index in range(FILE_SIZE_BYTES) if before[index] != after[index]]
    found = []
    for torn_at in range(changed[0], changed[-1] + 1):
        found.append(loaded_from(after[:torn_at] + before[torn_at:]))
        assert loaded_from(before[:torn_at] + after[torn_at:]) in {b"the second one", b"and the third"}, torn_at
    assert loaded(path) == b"and the third"
    whole_from = found.index(b"and the third")
    assert set(found[:whole_from]) == {b"the second one"}
    assert set(found[whole_from:]) == {b"and the third"}, "the first copy is whole"


def test_a_write_leaves_the_record_before_it_as_it_is(path: Path) -> None:
    content = saved(path, b"zero", b"one", b"two")
    positions = content[:POSITION_SIZE_BYTES], content[POSITION_SIZE_BYTES:]
    for position, payload in zip(positions, (b"one", b"two"), strict=True):
        assert position[:COPY_DISTANCE_BYTES] == position[COPY_DISTANCE_BYTES:]
        assert payload in position


def test_a_torn_record_is_written_over_by_the_next(path: Path) -> None:
    before = saved(path, b"zero", b"one", b"two")
    path.unlink()
    content = bytearray(saved(path, b"zero", b"one", b"two", b"three"))
    first = content.index(b"three")
    content[first] ^= 1
    content[first + 1 :] = before[first + 1 :]
    path.write_bytes(content)
    file = SignStateFile(path)
    assert file.load() == b"two"
    file.save(b"four")
    file.close()
    assert loaded(path) == b"four"
    assert path.read_bytes().count(b"two") == path.read_bytes().count(b"four") == 2


def test_no_flipped_byte_brings_an_older_record_back(path: Path) -> None:
    content = saved(path, b"old", b"new")
    for index in record_bytes():
        damaged = bytearray(content)
        damaged[index] ^= 0x40
        assert loaded_from(damaged) == b"new", index


@pytest.mark.parametrize("is_first_whole", [True, False])
def test_a_record_of_which_one_copy_is_left_is_made_twofold_before_it_is_used(
    path: Path, is_first_whole: bool
) -> None:
    # torn or rotten; what is loaded may be signed under, and the next flipped bit must not bring "one" back
    before = saved(path, b"zero", b"one")
    path.unlink()
    after = saved(path, b"zero", b"one", b"two")
    middle = POSITION_SIZE_BYTES + COPY_DISTANCE_BYTES
    first, second = (after, before) if is_first_whole else (before, after)
    path.write_bytes(first[:middle] + second[middle:])
    assert loaded(path) == b"two"
    healed = path.read_bytes()
    for index in record_bytes():
        damaged = bytearray(healed)
        damaged[index] ^= 1
        assert loaded_from(damaged) == b"two", index


@pytest.mark.parametrize("interval", [1, 7, 40])
def test_a_write_torn_after_a_torn_write_and_any_number_of_them_leave_a_record(path: Path, interval: int) -> None:
    # each opening mends what the last tear left, and may be torn itself
    class DiesError(Exception):
        pass

    @dataclass
    class TearingDevice(Device):
        bytes_left: int = 0

        def write(self, data: bytes, offset: int) -> None:
            taken = data[: self.bytes_left]
            super().write(taken, offset)
            self.bytes_left -= len(taken)
            if len(taken) < len(data):
                raise DiesError

    ends = [
        *range(0, 80, interval),
        *range(COPY_DISTANCE_BYTES - 3, COPY_DISTANCE_BYTES + 80, interval),
        POSITION_SIZE_BYTES,
    ]
    random = Random(interval)
    device = TearingDevice(bytearray(SignStateStore.content(b"0")))
    durable, attempted, torn = 0, 0, 0
    for life in range(3_000):
        device.bytes_left = random.choice(ends) + random.choice((0, 0, POSITION_SIZE_BYTES))
        try:
            store = SignStateStore(device, path)
            assert durable <= int(store.load()) <= attempted, life
            durable = attempted = int(store.load())
            while True:
                attempted = durable + 1
                store.save(str(attempted).encode())
                durable = attempted
        except DiesError:
            torn += 1
    assert torn == 3_000


@pytest.mark.parametrize("position", [0, 1])
@pytest.mark.parametrize("offset", [0, 3, 4, 11, 12, 13, 14, 16, 17, 48])
def test_a_record_damaged_in_both_copies_is_refused(path: Path, position: int, offset: int) -> None:
    content = bytearray(saved(path, b"old", b"new"))
    for copy in (0, COPY_DISTANCE_BYTES):
        content[position * POSITION_SIZE_BYTES + copy + offset] ^= 1
    path.write_bytes(content)
    assert fault_of(path) is SignStateFault.DAMAGED


def test_another_versions_file_is_refused_by_both_versions_names_and_is_no_damage(path: Path) -> None:
    content = saved(path, b"old", b"new")
    other = content.replace(MAGIC, b"PSS2")
    assert other.count(b"PSS2") == 4
    path.write_bytes(other)
    with pytest.raises(SignStateError, match="version 2, this software knows version 3") as caught:
        SignStateFile(path)
    assert caught.value.fault is SignStateFault.OTHER_VERSION
    path.write_bytes(content.replace(MAGIC, b"PSS2", 3))
    assert fault_of(path) is SignStateFault.DAMAGED, "one record is of this version"


def test_a_file_cut_short_at_any_byte_is_refused(path: Path) -> None:
    content = saved(path, b"old", b"new")
    record_bytes = 64
    ends = [*range(record_bytes), *range(POSITION_SIZE_BYTES - 2, POSITION_SIZE_BYTES + record_bytes)]
    for end in [*ends, FILE_SIZE_BYTES - 1]:
        path.write_bytes(content[:end])
        assert fault_of(path) is SignStateFault.DAMAGED, end


def test_a_file_that_grew_is_refused(path: Path) -> None:
    path.write_bytes(saved(path, b"a") + b"\0")
    assert fault_of(path) is SignStateFault.DAMAGED


def test_a_record_at_the_other_ones_place_is_refused(path: Path) -> None:
    content = saved(path, b"old", b"new")
    path.write_bytes(content[POSITION_SIZE_BYTES:] + content[:POSITION_SIZE_BYTES])
    assert fault_of(path) is SignStateFault.DAMAGED


def test_it_is_open_once(path: Path) -> None:
    SignStateFile.create(path, b"a")
    file = SignStateFile(path)
    assert fault_of(path) is SignStateFault.IN_USE
    file.close()
    assert loaded(path) == b"a"


def test_a_second_process_is_refused(path: Path) -> None:
    SignStateFile.create(path, b"a")
    file = SignStateFile(path)
    program = (
        "import sys; from pathlib import Path; from node.home.sign_state import SignStateFile;"
        "from node.errors import SignStateError\n"
        "try: SignStateFile(Path(sys.argv[1]))\n"
        "except SignStateError as error: print(error.fault.value)"
    )
    second = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert second.stdout.strip() == "in_use"
    file.close()
    assert loaded(path) == b"a"


@pytest.mark.parametrize("failing", ["pwrite", "fdatasync"])
def test_after_a_failed_write_it_never_saves_again(path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    SignStateFile.create(path, b"a")
    file = SignStateFile(path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, failing, full)
        with pytest.raises(SignStateError, match="No space left") as caught:
            file.save(b"b")
    assert caught.value.fault is SignStateFault.WRITE_FAILED
    assert file.load() == b"a", "what is not known to be durable is loaded"
    with pytest.raises(SignStateError) as caught:
        file.save(b"b")
    assert caught.value.fault is SignStateFault.WRITE_FAILED


def test_a_write_that_the_disk_takes_in_part_is_a_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SignStateFile.create(path, b"a")
    file = SignStateFile(path)
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: whole(descriptor, data[:20], offset))
    with pytest.raises(SignStateError) as caught:
        file.save(b"b")
    assert caught.value.fault is SignStateFault.WRITE_FAILED
    monkeypatch.undo()
    assert loaded(path) == b"a"


def test_a_save_is_synced_before_it_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    SignStateFile.create(path, b"a")
    file = SignStateFile(path)
    synced: list[bytes] = []
    sync = os.fdatasync

    def record(descriptor: int) -> None:
        sync(descriptor)
        synced.append(path.read_bytes())

    monkeypatch.setattr(os, "fdatasync", record)
    file.save(b"signed")
    file.close()
    assert len(synced) == 1
    assert b"signed" in synced[0]


def test_a_new_one_is_synced_before_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = watch_syncs(monkeypatch)
    SignStateFile.create(path, b"signed")
    assert [one.path for one in synced] == [path, path.parent]
    assert synced[0].content == SignStateStore.content(b"signed")


@pytest.mark.parametrize("lost", range(4))
def test_of_a_lost_copy_only_that_one_is_written_again(path: Path, lost: int) -> None:
    # writing both could tear both
    content = bytearray(saved(path, b"old", b"new"))
    content[lost * COPY_DISTANCE_BYTES] ^= 1
    device = Device(content)
    assert SignStateStore(device, path).load() == b"new"
    assert device.writes == [(lost * COPY_DISTANCE_BYTES, COPY_DISTANCE_BYTES)]
