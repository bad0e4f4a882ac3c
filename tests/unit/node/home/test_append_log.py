"""Journals in files: owner only, durable after sync, a torn last line cut off, damage named by its line."""

import stat
from pathlib import Path

import pytest

from node.home.append_log import AppendLog, AppendLogError
from tests.support.disk import full_above, watch_syncs


def test_what_was_synced_is_there_after_reopening_and_what_was_not_is_lost(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "journal")
    log.append({"number": 1})
    log.append({"number": 2})
    log.sync()
    log.append({"number": 3})
    log.close()
    assert AppendLog(tmp_path / "journal").entries == ({"number": 1}, {"number": 2})


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.touch(mode=0o644)
    AppendLog(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_last_line_is_cut_off_and_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"number":1}\n{"num')
    log = AppendLog(path)
    assert log.entries == ({"number": 1},)
    log.append({"number": 2})
    log.sync()
    assert path.read_bytes() == b'{"number":1}\n{"number":2}\n'


@pytest.mark.parametrize("line", [b"{", b"[1]", b"\xff", b""])
def test_damage_before_the_end_is_refused_with_its_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"number":1}\n' + line + b"\n")
    with pytest.raises(AppendLogError, match="line 2: is damaged"):
        AppendLog(path)


def test_replacing_exchanges_the_content_and_later_entries_go_behind_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    log = AppendLog(path)
    log.append({"number": 1})
    log.sync()
    log.replace([{"number": 7}])
    log.append({"number": 8})
    log.sync()
    assert AppendLog(path).entries == ({"number": 7}, {"number": 8})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["journal"]


def test_a_disk_that_takes_nothing_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(AppendLogError, match="missing"):
        AppendLog(tmp_path / "missing" / "journal")
    log = AppendLog(tmp_path / "journal")
    log.close()
    log.append({"number": 1})
    with pytest.raises(AppendLogError, match="journal cannot be used"):
        log.sync()


def test_entries_and_the_name_of_a_new_file_are_durable_when_sync_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, synced = tmp_path / "journal", watch_syncs(monkeypatch)
    log = AppendLog(path)
    assert [one.path for one in synced] == [tmp_path], "a power cut could take the whole file"
    log.append({"number": 1})
    assert path.read_bytes() == b""
    log.sync()
    assert [(one.path, one.content) for one in synced[1:]] == [(path, b'{"number":1}\n')]
    log.sync()
    assert len(synced) == 2, "nothing was added"
    log.close()


def test_replaced_content_is_synced_before_it_takes_the_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal"
    log = AppendLog(path)
    synced = watch_syncs(monkeypatch)
    log.replace([{"number": 7}])
    log.close()
    assert [one.path for one in synced] == [tmp_path / "journal.new", tmp_path]
    assert synced[0].content == b'{"number":7}\n'


def test_what_the_disk_does_not_take_is_not_forgotten_and_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    log = AppendLog(path)
    log.append({"number": 1})
    with full_above(0), pytest.raises(AppendLogError, match="journal cannot be used"):
        log.sync()
    assert path.read_bytes() == b""
    with full_above(0), pytest.raises(AppendLogError):
        log.sync()
    log.sync()
    log.close()
    assert AppendLog(path).entries == ({"number": 1},)
