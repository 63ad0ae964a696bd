"""Files are there whole or not at all, and a full disk is told as one."""

import errno
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from cf.files.atomic import (
    DiskFullError,
    disk_is_full,
    locked,
    remove_temporaries,
    replacing,
    write_text,
)


def test_a_failed_write_leaves_the_file_that_was_there_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "old é")
    with pytest.raises(UnicodeEncodeError), replacing(tmp_path / "a.txt") as path:
        path.write_text("ne\ud800", "utf-8")
    assert (tmp_path / "a.txt").read_bytes() == "old é".encode()
    assert os.listdir(tmp_path) == ["a.txt"]


def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path: Path) -> None:
    name = "é" * 127 + "x"  # 255 bytes
    write_text(tmp_path / name, "text")
    assert os.listdir(tmp_path) == [name]


def test_a_new_file_has_the_mode_that_the_umask_gives(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with replacing(tmp_path / "weights") as path:
            save_file({"a": torch.zeros(1)}, path)
            path.chmod(0o600)  # as writers through temporary files do
    finally:
        os.umask(before)
    assert (tmp_path / "weights").stat().st_mode & 0o777 == 0o640


def _torch(path: str) -> None:
    torch.save({"a": torch.zeros(64)}, path)


def _text(path: str) -> None:
    with open(path, "w") as file:
        file.write("x" * 100_000)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
@pytest.mark.parametrize("write", [_torch, _text])
def test_a_full_disk_is_told_whichever_library_meets_it(
    write: Callable[[str], None], tmp_path: Path
) -> None:
    told = r"no space is left on the disk for .*a\.pt; free some"
    with pytest.raises(DiskFullError, match=told) as e, replacing(tmp_path / "a.pt"):
        write("/dev/full")
    assert os.listdir(tmp_path) == []
    assert str(pickle.loads(pickle.dumps(e.value))) == str(e.value)


def test_what_is_no_full_disk_is_not_told_as_one(tmp_path: Path) -> None:
    assert not disk_is_full(ValueError("No space left on device"))
    assert not disk_is_full(OSError(errno.EACCES, "Permission denied"))
    assert disk_is_full(RuntimeError("[enforce fail] PytorchStreamWriter failed writing file"))


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "keep.txt").touch()
    with replacing(tmp_path / "a.txt") as path:
        path.with_name(path.name.replace(str(os.getpid()), "1")).touch()
    remove_temporaries(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "keep.txt"]


def test_a_folder_is_worked_in_by_one_process(tmp_path: Path) -> None:
    with locked(tmp_path / "new", "busy"):
        pid = os.fork()
        if pid == 0:  # a lock is between processes
            try:
                with locked(tmp_path / "new", "busy"):
                    os._exit(1)
            except ValueError as error:
                os._exit(0 if str(error) == "busy" else 2)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with locked(tmp_path / "new", "busy"):
        pass
