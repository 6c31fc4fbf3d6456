"""A folder is written whole or not at all: a kill, an error or a full disk leaves the old one and nothing else."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model.datasets import atomic_writes
from model.datasets.atomic_writes import folder_written_atomically, write_file_atomically


def old_folder(tmp_path: Path) -> Path:
    target = tmp_path / "data"
    target.mkdir()
    (target / "a.txt").write_text("old")
    return target


def test_the_new_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = old_folder(tmp_path)
    with folder_written_atomically(target) as new:
        (new / "b.txt").write_text("new")
        assert (target / "a.txt").read_text() == "old"
    assert [file.name for file in target.iterdir()] == ["b.txt"]
    assert list(tmp_path.iterdir()) == [target]


def test_an_error_leaves_the_old_one(tmp_path: Path) -> None:
    target = old_folder(tmp_path)
    with pytest.raises(FileNotFoundError), folder_written_atomically(target) as new:
        (new / "b.txt").write_bytes((target / "absent").read_bytes())
    assert [file.name for file in target.iterdir()] == ["a.txt"]
    assert list(tmp_path.iterdir()) == [target]


def test_without_an_exchange_of_names_it_is_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_writes, "_exchange", lambda first, second: False)
    target = old_folder(tmp_path)
    with folder_written_atomically(target) as new:
        (new / "b.txt").write_text("new")
    assert [file.name for file in target.iterdir()] == ["b.txt"]
    assert list(tmp_path.iterdir()) == [target]


def test_killed_between_the_two_renames_the_old_one_comes_back(tmp_path: Path) -> None:
    target = old_folder(tmp_path)
    target.rename(tmp_path / ".data.replaced-1")
    atomic_writes.remove_unfinished(target)
    assert (target / "a.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_files_of_others_are_kept_and_a_folder_of_others_is_refused(tmp_path: Path) -> None:
    target = old_folder(tmp_path)
    (target / "notes.md").write_text("mine")
    with folder_written_atomically(target, lambda name: name == "a.txt"):
        pass
    assert [file.name for file in target.iterdir()] == ["notes.md"]
    (target / "photos").mkdir()
    with pytest.raises(FileExistsError, match="photos"), folder_written_atomically(target, lambda name: False):
        pass
    assert (target / "notes.md").read_text() == "mine"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target = old_folder(tmp_path)
    link = tmp_path / "link"
    link.symlink_to(target)
    with folder_written_atomically(link) as new:
        (new / "b.txt").write_text("new")
    assert link.is_symlink()
    assert (target / "b.txt").read_text() == "new"


def test_a_killed_writer_leaves_the_old_one_and_the_next_removes_its_rest(tmp_path: Path) -> None:
    target = old_folder(tmp_path)
    code = (
        "import sys, pathlib; from model.datasets.atomic_writes import folder_written_atomically\n"
        "with folder_written_atomically(pathlib.Path(sys.argv[1])) as new:\n"
        "    (new / 'b.txt').write_text('half'); print('there', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, str(target)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        atomic_writes.remove_unfinished(target)
        assert len(list(tmp_path.iterdir())) == 2, "the folder of a living writer stays"
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert [file.name for file in target.iterdir()] == ["a.txt"]
    with folder_written_atomically(target) as new:
        (new / "c.txt").write_text("new")
    assert list(tmp_path.iterdir()) == [target]
    assert [file.name for file in target.iterdir()] == ["c.txt"]


def test_a_full_disk_is_one_sentence_that_names_the_folder(tmp_path: Path) -> None:
    target = old_folder(tmp_path)
    code = (
        "import sys, pathlib, resource; from model.datasets.atomic_writes import folder_written_atomically\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with folder_written_atomically(pathlib.Path(sys.argv[1])) as new:\n"
        "        (new / 'b.txt').write_bytes(bytes(5000))\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    root = Path(__file__).parents[3]
    said = subprocess.run(
        [sys.executable, "-c", code, str(target)], capture_output=True, text=True, cwd=root, check=True
    )
    assert f"{target} could not be written and is as it was before" in said.stdout
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "a.txt").read_text() == "old"


def test_one_file_is_replaced_at_once(tmp_path: Path) -> None:
    write_file_atomically(tmp_path / "one" / "x.json", b"1")
    write_file_atomically(tmp_path / "one" / "x.json", b"2")
    assert (tmp_path / "one" / "x.json").read_bytes() == b"2"
    assert len(list((tmp_path / "one").iterdir())) == 1
