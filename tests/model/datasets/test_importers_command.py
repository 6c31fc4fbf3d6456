"""`unirank data import` passes every option on, shows warnings, refuses in one line, and keeps the old dataset on
failure.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Ended, run_command

from model.datasets.dataset import Dataset


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Run the command on two texts; exit code, standard output, standard error."""
    monkeypatch.setenv("COLUMNS", "200")

    def run(entities: str, events: str, *options: str) -> Ended:
        (tmp_path / "items.csv").write_text(entities, encoding="utf-8")
        (tmp_path / "clicks.csv").write_text(events, encoding="utf-8")
        files = ["--entities", f"{tmp_path}/items.csv", "--events", f"{tmp_path}/clicks.csv"]
        return run_command(capsys, monkeypatch, "data", "import", f"{tmp_path}/out", *files, *options)

    return run


ITEMS = "entity_id;display_name;price;junk\n1;Lamp;1,5;a\n2;Chair;-;b\n"
CLICKS = "entity_id;user_id;timestamp\n1;ann;1\n2;-;2\n"


def test_every_option_reaches_the_reader(call, tmp_path: Path) -> None:
    options = ["--decimal", ",", "--null", "-", "--drop", "junk", "--delimiter", ";", "--quote", ""]
    code, out, err = call(ITEMS, CLICKS, *options, "--task", "search", "--no-derive")
    assert code == 0, err
    dataset = Dataset.load(tmp_path / "out")
    assert dataset.entities == [
        {"entity_id": "1", "display_name": "Lamp", "price": 1.5},
        {"entity_id": "2", "display_name": "Chair"},
    ]
    assert dataset.events.select("user_id", "task").rows() == [("ann", "search"), (None, "search")]
    assert "warning clicks.csv, column timestamp: 2 times are outside 1990 to 2100" in " ".join(err.split())
    assert "2 entities, 2 events, 0 rejected" in " ".join(out.split())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--decimal", "x"], "--decimal: expected . or , got x"),
        (["--delimiter", "ab"], "--delimiter: expected one sign, got ab"),
        (["--encoding", "klingon"], "--encoding: expected a text encoding"),
        (["--map", "user_id=a", "--map", "user_id=b"], "--map: expected user_id once, got a and b"),
        (["--map", "user_id=nobody"], "map user_id=nobody: expected a column of items.csv or clicks.csv"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(call, tmp_path: Path, options: list[str], says: str) -> None:
    code, _, err = call(ITEMS, CLICKS, *options)
    assert code == 2
    lines = [line for line in err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert says in lines[0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clicks.csv", "items.csv"]


def test_a_failed_import_leaves_the_old_dataset_and_lists_the_rows_beside_it(call, tmp_path: Path) -> None:
    assert call(ITEMS, CLICKS)[0] == 0
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    code, _, err = call(ITEMS, CLICKS + "9;bob;3\n")
    assert code == 2
    assert 'clicks.csv line 4, column entity_id: expected the id of a known entity, got "9"' in err
    assert f"all of them are listed in {tmp_path}/out.rejected.jsonl" in err
    assert {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()} == before
    (row,) = map(json.loads, (tmp_path / "out.rejected.jsonl").read_text().splitlines())
    assert (row["line"], row["column"]) == (4, "entity_id")
