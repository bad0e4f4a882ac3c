"""Deliberate breaks of what makes things durable: the sign state's file, journals, LevelDB, the files beside it."""

from typing import Final

from ledger import creation, side_files, startup
from ledger import ledger as ledger_module
from ledger.ledger import Ledger
from ledger.store import Store
from node.home import append_log, sign_state, storage
from node.home.append_log import AppendLog
from node.home.sign_state import SignStateFile, SignStateStore
from tests.simulation.breaks import nothing_happens
from tests.simulation.directed import directed
from tests.simulation.mutant import Mutant, edited
from tests.unit.ledger import test_ledger, test_ledger_disk, test_ledger_startup
from tests.unit.node.home import test_append_log, test_sign_state, test_storage

A = test_append_log
L = test_ledger_disk
S = test_sign_state
T = test_storage
U = test_ledger_startup

SIGN_STATE_MUTANTS: Final = (
    Mutant(
        name="a record has one copy",
        rule="sign state",
        breaks=(edited(SignStateStore, "save", ("_encode_copy(record) * 2", "_encode_copy(record)")),),
        killers=(directed(S.test_no_flipped_byte_brings_an_older_record_back),),
    ),
    Mutant(
        name="the older record is loaded",
        rule="sign state",
        breaks=(edited(SignStateStore, "__init__", ("max(records)", "min(records)")),),
        killers=(directed(S.test_the_newest_payload_comes_back, saves=2),),
    ),
    Mutant(
        name="the older copy of a torn record is loaded",
        rule="sign state",
        breaks=(edited(sign_state, "_newest_at", ("max((record for", "min((record for")),),
        killers=tuple(
            directed(
                S.test_a_record_of_which_one_copy_is_left_is_made_twofold_before_it_is_used, is_first_whole=is_first
            )
            for is_first in (True, False)
        ),
    ),
    Mutant(
        name="checksums are not compared",
        rule="sign state",
        breaks=(
            edited(
                sign_state,
                "_decode",
                ("if checksum[:DIGEST_SIZE_BYTES] != digest(HashKind.SIGN_STATE, body):", "if False:"),
            ),
        ),
        killers=(
            directed(S.test_no_flipped_byte_brings_an_older_record_back),
            directed(S.test_a_record_damaged_in_both_copies_is_refused, position=0, offset=16),
        ),
    ),
    Mutant(
        name="a record is taken from the other one's place",
        rule="sign state",
        breaks=(edited(sign_state, "_decode", ("if sequence % 2 == position else None", "")),),
        killers=(directed(S.test_a_record_at_the_other_ones_place_is_refused),),
    ),
    Mutant(
        name="one whole record is enough",
        rule="sign state",
        breaks=(edited(sign_state, "_newest_records", ("if len(whole) < len(newest):", "if not whole:")),),
        killers=tuple(
            directed(S.test_a_record_damaged_in_both_copies_is_refused, position=position, offset=16)
            for position in (0, 1)
        ),
    ),
    Mutant(
        name="a file of another length is taken",
        rule="sign state",
        breaks=(edited(sign_state, "_read_whole", ("if len(content) != FILE_SIZE_BYTES:", "if False:")),),
        killers=(directed(S.test_a_file_that_grew_is_refused),),
    ),
    Mutant(
        name="a lost copy is not made again",
        rule="sign state",
        breaks=((SignStateStore, "_mend", nothing_happens),),
        killers=(
            *(directed(S.test_of_a_lost_copy_only_that_one_is_written_again, lost=lost) for lost in (0, 3)),
            directed(
                S.test_a_record_of_which_one_copy_is_left_is_made_twofold_before_it_is_used, is_first_whole=True
            ),
        ),
    ),
    Mutant(
        name="a lost copy is made again together with the whole one",
        rule="sign state",
        breaks=(
            edited(
                SignStateStore, "_mend", ("self._write(copy, offset)", "self._write(copy * 2, _offsets(record)[0])")
            ),
        ),
        killers=tuple(directed(S.test_of_a_lost_copy_only_that_one_is_written_again, lost=lost) for lost in range(4)),
    ),
    Mutant(
        name="only the newest record's lost copy is made again",
        rule="sign state",
        breaks=(edited(SignStateStore, "__init__", ("for record in records:", "for record in [self._record]:")),),
        killers=tuple(directed(S.test_of_a_lost_copy_only_that_one_is_written_again, lost=lost) for lost in (2, 3)),
    ),
    Mutant(
        name="a write goes to the place of the newest record",
        rule="sign state",
        breaks=(edited(SignStateStore, "save", ("self._record.sequence + 1", "self._record.sequence + 2")),),
        killers=(directed(S.test_a_write_leaves_the_record_before_it_as_it_is),),
    ),
    Mutant(
        name="what is being written is loaded before it is durable",
        rule="sign state",
        breaks=(
            edited(
                SignStateStore,
                "save",
                ("self._write(_encode_copy(record)", "self._record = record\n    self._write(_encode_copy(record)"),
            ),
        ),
        killers=(directed(S.test_after_a_failed_write_it_never_saves_again, failing="pwrite"),),
    ),
    Mutant(
        name="after a failed write the next is taken",
        rule="sign state",
        breaks=(edited(SignStateStore, "_write", ("self.close()", "pass")),),
        killers=tuple(
            directed(S.test_after_a_failed_write_it_never_saves_again, failing=failing)
            for failing in ("pwrite", "fdatasync")
        ),
    ),
    Mutant(
        name="a failed write is passed over",
        rule="sign state",
        breaks=(edited(SignStateStore, "_write", ("raise _write_failed(self._path, error) from None", "pass")),),
        killers=tuple(
            directed(S.test_after_a_failed_write_it_never_saves_again, failing=failing)
            for failing in ("pwrite", "fdatasync")
        ),
    ),
    Mutant(
        name="a failed sync is passed over",
        rule="sign state",
        breaks=(
            edited(
                sign_state._LockedFile,
                "write",
                (
                    "os.fdatasync(self._descriptor)",
                    "try:\n        os.fdatasync(self._descriptor)\n    except OSError:\n        pass",
                ),
            ),
        ),
        killers=(directed(S.test_after_a_failed_write_it_never_saves_again, failing="fdatasync"),),
    ),
    Mutant(
        name="a save is not synced",
        rule="sign state",
        breaks=(edited(sign_state._LockedFile, "write", ("os.fdatasync(self._descriptor)", "pass")),),
        killers=(
            directed(S.test_a_save_is_synced_before_it_returns),
            directed(S.test_a_new_one_is_synced_before_its_name),
        ),
    ),
    Mutant(
        name="a part of a record counts as written",
        rule="sign state",
        breaks=(edited(sign_state._LockedFile, "write", ("!= len(data):", "== 0:")),),
        killers=(directed(S.test_a_write_that_the_disk_takes_in_part_is_a_failure),),
    ),
    Mutant(
        name="the name of a new sign state is not synced",
        rule="sign state",
        breaks=(edited(SignStateFile, "create", ("sync_directory(path.parent)", "pass")),),
        killers=(directed(S.test_a_new_one_is_synced_before_its_name),),
    ),
    Mutant(
        name="a sign state is made over another one",
        rule="sign state",
        breaks=(edited(SignStateFile, "create", ("os.O_EXCL", "os.O_TRUNC")),),
        killers=(directed(S.test_it_is_created_once),),
    ),
    Mutant(
        name="two processes may use one sign state",
        rule="sign state",
        breaks=(
            edited(sign_state, "_open_locked", ("fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass")),
        ),
        killers=(directed(S.test_it_is_open_once),),
    ),
    Mutant(
        name="without anybody to ask a lost sign state is made anew",
        rule="sign state",
        breaks=(edited(storage, "_open_sign_state", ("if has_peers:", "if True:")),),
        killers=tuple(
            directed(T.test_without_peers_only_the_operator_can_say, content=content) for content in (None, b"torn")
        ),
    ),
    Mutant(
        name="without anybody to ask a lost ledger is begun anew",
        rule="storage",
        breaks=(edited(storage, "_note_lost", ("if not has_peers:", "if False:")),),
        killers=(directed(T.test_without_peers_a_lost_ledger_is_not_begun_anew, how="missing"),),
    ),
    Mutant(
        name="without anybody to ask a damaged ledger is set aside",
        rule="storage",
        breaks=(edited(storage, "_open_ledger", ("if not has_peers:", "if False:")),),
        killers=(directed(T.test_without_peers_a_lost_ledger_is_not_begun_anew, how="damaged"),),
    ),
    Mutant(
        name="what is set aside is not synced under its name",
        rule="storage",
        breaks=(edited(storage, "set_aside", ("sync_directory(path.parent)", "pass")),),
        killers=(directed(T.test_what_is_set_aside_is_so_durably_before_a_new_one_is_made),),
    ),
)

JOURNAL_MUTANTS: Final = (
    Mutant(
        name="entries are not synced",
        rule="journals",
        breaks=(edited(append_log, "_write", ("os.fdatasync(descriptor)", "pass")),),
        killers=(
            directed(A.test_entries_and_the_name_of_a_new_file_are_durable_when_sync_returns),
            directed(A.test_replaced_content_is_synced_before_it_takes_the_name_and_the_name_after),
        ),
    ),
    Mutant(
        name="the name of a new journal is not synced",
        rule="journals",
        breaks=(edited(AppendLog, "__init__", ("sync_directory(path.parent)", "pass")),),
        killers=(directed(A.test_entries_and_the_name_of_a_new_file_are_durable_when_sync_returns),),
    ),
    Mutant(
        name="the name of an exchanged journal is not synced",
        rule="journals",
        breaks=(edited(AppendLog, "replace", ("sync_directory(self._path.parent)", "pass")),),
        killers=(directed(A.test_replaced_content_is_synced_before_it_takes_the_name_and_the_name_after),),
    ),
    Mutant(
        name="entries that the disk does not take are passed over",
        rule="journals",
        breaks=(edited(AppendLog, "sync", ("raise self._failed(error) from None", "pass")),),
        killers=(directed(A.test_what_the_disk_does_not_take_is_not_forgotten_and_not_believed),),
    ),
    Mutant(
        name="entries that the disk did not take are forgotten",
        rule="journals",
        breaks=(
            edited(
                AppendLog,
                "sync",
                (
                    "raise self._failed(error) from None",
                    "self._added.clear()\n        raise self._failed(error) from None",
                ),
            ),
        ),
        killers=(directed(A.test_what_the_disk_does_not_take_is_not_forgotten_and_not_believed),),
    ),
    Mutant(
        name="a damaged line is left out",
        rule="journals",
        breaks=(
            edited(
                AppendLog, "_parse", ('raise AppendLogError(f"{self._path}, line {number}: is damaged")', "return {}")
            ),
        ),
        killers=(directed(A.test_damage_before_the_end_is_refused_with_its_line, line=b"{"),),
    ),
)

STORE_MUTANTS: Final = (
    Mutant(
        name="LevelDB is written without sync",
        rule="ledger's disk",
        breaks=(edited(Store, "write", ("write_batch(sync=True)", "write_batch()")),),
        killers=(directed(L.test_every_batch_is_synced),),
    ),
    Mutant(
        name="a failed write is passed over",
        rule="ledger's disk",
        breaks=(
            edited(
                Store,
                "write",
                ('raise LedgerWriteFailed(f"LevelDB did not take a write: {error}") from None', "pass"),
            ),
        ),
        killers=(
            directed(L.test_what_the_disk_did_not_take_is_not_believed_and_nothing_follows_it),
            directed(L.test_records_that_the_disk_did_not_take_are_not_believed),
        ),
    ),
    Mutant(
        name="after a failed write the next is taken",
        rule="ledger's disk",
        breaks=(edited(Store, "write", ("if self._failure is not None:", "if False:")),),
        killers=(directed(L.test_what_the_disk_did_not_take_is_not_believed_and_nothing_follows_it),),
    ),
    Mutant(
        name="a ledger that could not be written is sealed",
        rule="ledger's disk",
        breaks=(edited(Ledger, "close", ("if not self._store.failed:", "if True:")),),
        killers=(directed(L.test_what_the_disk_did_not_take_is_not_believed_and_nothing_follows_it),),
    ),
    Mutant(
        name="the tip moves before the block is written",
        rule="ledger's disk",
        breaks=(
            edited(
                Ledger,
                "append",
                (
                    "self._store.write(block_entries(executed, certificate), stale)\n"
                    "    height = executed.block.header.height",
                    "height = executed.block.header.height\n"
                    "    self._parent = executed.as_parent(membership=self.membership(), "
                    "memberships=self._begun.memberships_after(height, self))\n"
                    "    self._store.write(block_entries(executed, certificate), stale)",
                ),
            ),
        ),
        killers=(directed(L.test_what_the_disk_did_not_take_is_not_believed_and_nothing_follows_it),),
    ),
    Mutant(
        name="records count before they are written",
        rule="ledger's disk",
        breaks=(
            edited(
                Ledger,
                "persist_undecided",
                ("self._store.write({", "self._undecided.update(records)\n    self._store.write({"),
            ),
        ),
        killers=(directed(L.test_records_that_the_disk_did_not_take_are_not_believed),),
    ),
    Mutant(
        name="the mark of the tip stays behind",
        rule="ledger's disk",
        breaks=((Ledger, "_mark_tip", nothing_happens),),
        killers=(directed(L.test_the_mark_moves_with_each_block_and_without_it_the_node_stops),),
    ),
    Mutant(
        name="a mark of the tip that cannot be written is passed over",
        rule="ledger's disk",
        breaks=(
            edited(
                Ledger,
                "_mark_tip",
                ('raise LedgerWriteFailed(f"cannot write the mark of the tip: {error}") from None', "pass"),
            ),
        ),
        killers=(directed(L.test_the_mark_moves_with_each_block_and_without_it_the_node_stops),),
    ),
    Mutant(
        name="a database behind its mark is opened",
        rule="ledger's disk",
        breaks=(edited(startup, "_check_tip_mark", ("if mark.height > tip.height:", "if False:")),),
        killers=(directed(U.TestTip.test_a_database_behind_the_mark_is_refused),),
    ),
    Mutant(
        name="the folder of a new ledger is not synced",
        rule="ledger's disk",
        breaks=(edited(Ledger, "_create", ("sync_directory(directory.parent)", "pass")),),
        killers=(directed(L.test_a_new_ledger_is_durable_under_its_name_and_so_is_its_folder),),
    ),
    Mutant(
        name="a new database takes its name before its mark is synced",
        rule="ledger's disk",
        breaks=(edited(creation, "create_tip_mark", ("os.fsync(descriptor)", "pass")),),
        killers=(directed(L.test_a_new_ledger_is_durable_under_its_name_and_so_is_its_folder),),
    ),
    Mutant(
        name="a new database takes its name before its files' names are synced",
        rule="ledger's disk",
        breaks=(edited(creation, "_build", ("sync_directory(unfinished)", "pass")),),
        killers=(directed(L.test_a_new_ledger_is_durable_under_its_name_and_so_is_its_folder),),
    ),
    Mutant(
        name="the seal's name is not synced",
        rule="ledger's disk",
        breaks=(edited(side_files, "write_whole", ("sync_directory(path.parent)", "pass")),),
        killers=(
            directed(
                L.test_the_seal_is_synced_before_it_takes_its_name_and_broken_for_good_before_the_database_opens
            ),
        ),
    ),
    Mutant(
        name="that the seal is broken is not synced",
        rule="ledger's disk",
        breaks=(edited(ledger_module, "remove_seal", ("sync_directory(directory)", "pass")),),
        killers=(
            directed(
                L.test_the_seal_is_synced_before_it_takes_its_name_and_broken_for_good_before_the_database_opens
            ),
        ),
    ),
    Mutant(
        name="the seal is not synced before it takes its name",
        rule="ledger's disk",
        breaks=(edited(side_files, "write_whole", ("os.fsync(file.fileno())", "pass")),),
        killers=(
            directed(
                L.test_the_seal_is_synced_before_it_takes_its_name_and_broken_for_good_before_the_database_opens
            ),
        ),
    ),
    Mutant(
        name="the seal of the last stop stays while the database is open",
        rule="ledger's disk",
        breaks=((ledger_module, "remove_seal", nothing_happens),),
        killers=(
            directed(
                L.test_the_seal_is_synced_before_it_takes_its_name_and_broken_for_good_before_the_database_opens
            ),
        ),
    ),
    Mutant(
        name="a block leaves the records of its height in the database",
        rule="ledger's disk",
        breaks=(edited(Ledger, "append", ("stale += [undecided_key(name) for name in self._undecided]", "pass")),),
        killers=(
            directed(L.test_a_block_takes_the_records_of_its_height_with_it),
            directed(test_ledger.TestUndecided.test_records_stay_until_the_next_block),
        ),
    ),
    Mutant(
        name="a block leaves the records of its height in memory",
        rule="ledger's disk",
        breaks=(edited(Ledger, "append", ("self._undecided.clear()", "pass")),),
        killers=(directed(L.test_a_block_takes_the_records_of_its_height_with_it),),
    ),
    Mutant(
        name="a record takes the place of all others",
        rule="ledger's disk",
        breaks=(
            edited(
                Ledger, "persist_undecided", ("self._undecided.update(records)", "self._undecided = dict(records)")
            ),
        ),
        killers=(directed(L.test_a_block_takes_the_records_of_its_height_with_it),),
    ),
    Mutant(
        name="two processes may open one ledger",
        rule="ledger's disk",
        breaks=(
            edited(
                side_files.DirectoryLock,
                "__init__",
                ("fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)", "pass"),
            ),
        ),
        killers=(directed(L.test_it_is_open_once_and_a_second_opening_is_not_taken_for_damage),),
    ),
)

DISK_MUTANTS: Final = (*SIGN_STATE_MUTANTS, *JOURNAL_MUTANTS, *STORE_MUTANTS)
