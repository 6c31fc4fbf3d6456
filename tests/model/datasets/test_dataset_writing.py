"""A dataset is written whole or not at all: full disks, kills, and files that were cut off."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from model.datasets.dataset import Dataset, write_dataset
from model.datasets.errors import MissingFileError
from model.datasets.files import write_events
from model.datasets.quality import validate
from model.events.table import conform

ROOT = Path(__file__).parents[3]
ENTITIES: list[dict[str, object]] = [{"entity_id": f"e{i}", "display_name": f"Lamp {i}"} for i in range(3)]

# Every writer of datasets, under a limit on the size of a file; each prints what it raised.
WRITERS = """
import resource, sys
from pathlib import Path
import polars as pl
from model.datasets.dataset import write_dataset
from model.datasets.importers.demo import import_demo
from model.datasets.importers.tables import import_tables
from model.datasets.simulation import simulate
folder, out = Path(sys.argv[1]), Path(sys.argv[2])
events = pl.DataFrame({"ranking_id": [str(i) for i in range(500)], "task": "search", "entity_id": "e1", "label": 1.0})
entities = [{"entity_id": "e1", "display_name": "Lamp"}]
films = {"movieId": [1, 2], "title": ["Heat (1995)", "Solo (1996)"], "year": [1995, 1996], "genres": ["Drama", "Drama"]}
ratings = pl.DataFrame({**films, "userId": [1, 2], "rating": [4.0, 5.0], "timestamp": [1, 2]})
many = pl.concat([ratings.with_columns(userId=pl.lit(user)) for user in range(300)])
writers = {
    "jsonl": lambda: write_dataset(out, "x", entities, events, {}),
    "parquet": lambda: write_dataset(out, "x", entities, events, {}, file_format="parquet"),
    "tables": lambda: import_tables(out, folder / "items.csv", folder / "clicks.csv", {}),
    "simulate": lambda: simulate(out),
    "demo": lambda: import_demo(out, ratings=lambda: many),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))
for name, write in writers.items():
    try:
        write()
        print(name, "wrote")
    except OSError as error:
        print(name, "raised", error)
"""


def written(path: Path) -> Path:
    rows = {"ranking_id": ["a", "b", "c"], "task": ["search"] * 3, "entity_id": ["e0", "e1", "e2"], "label": [1.0] * 3}
    write_dataset(path, "old", ENTITIES, pl.DataFrame(rows), {})
    return path


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_a_full_disk_leaves_the_old_dataset_whole_and_no_litter(tmp_path: Path) -> None:
    """Every writer: one sentence that names the folder, the old files to the byte, nothing beside them."""
    out = written(tmp_path / "shop")
    before = contents(out)
    source = tmp_path / "source"
    source.mkdir()
    (source / "items.csv").write_text("entity_id,display_name\n1,Lamp\n")
    (source / "clicks.csv").write_text("entity_id,user_id\n" + "1,ann\n" * 500)
    command = [sys.executable, "-c", WRITERS, str(source), str(out)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr
    said = ended.stdout.splitlines()
    assert [line.split()[0] for line in said] == ["jsonl", "parquet", "tables", "simulate", "demo"], ended.stdout
    for line in said:
        assert f"raised [Errno 27] File too large: {out} could not be written and is as it was before" in line
    assert contents(out) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shop", "source"]


def test_without_dataset_json_a_folder_is_no_dataset(tmp_path: Path) -> None:
    out = written(tmp_path / "shop")
    (out / "dataset.json").unlink()
    with pytest.raises(MissingFileError, match=r"found no dataset\.json"):
        Dataset.load(out)
    assert not validate(out).usable


@pytest.mark.parametrize("stem", ["events", "entities"])
def test_a_file_that_was_cut_off_is_an_error(tmp_path: Path, stem: str) -> None:
    out = written(tmp_path / "shop")
    file = out / f"{stem}.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-1]))
    errors = validate(out, max_rejected=0.9).errors
    assert f"{stem}: expected 3 rows as dataset.json counts them, got 2: the file was cut off" in errors


def test_rows_that_were_added_are_a_warning(tmp_path: Path) -> None:
    out = written(tmp_path / "shop")
    with (out / "entities.jsonl").open("a") as stream:
        stream.write('{"entity_id": "e9", "display_name": "Rug"}\n')
    report = validate(out)
    assert report.usable
    assert "entities has 4 rows where dataset.json counts 3: rows were added" in report.warnings


def test_files_of_others_in_the_folder_stay(tmp_path: Path) -> None:
    out = written(tmp_path / "shop")
    (out / "README.md").write_text("mine")
    written(out)
    assert (out / "README.md").read_text() == "mine"
    assert json.loads((out / "dataset.json").read_text())["name"] == "old"


def test_both_ways_of_writing_events_say_the_same(tmp_path: Path) -> None:
    """Polars writes a frame whose optional columns are full or empty; rows one by one are equal to it."""
    full = conform(pl.DataFrame({"ranking_id": ["a"], "task": ['"\n\u2028'], "entity_id": ["é"], "label": [0.1]}))
    mixed = pl.concat([full.with_columns(part=pl.lit("test")), full])
    for name, frame in {"polars": full, "rows": mixed}.items():
        with (tmp_path / name).open("wb") as stream:
            write_events(stream, frame)
    assert json.loads((tmp_path / "polars").read_text()) == json.loads((tmp_path / "rows").read_bytes().splitlines()[1])
