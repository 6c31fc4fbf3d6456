"""The study of specialists on a small simulated world: what is asked, what is kept, what the command writes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from app.cli import app
from model.baselines.popularity import Popularity
from model.config import Config
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent
from model.context.imputation import MissingFieldError, fill
from model.datasets.dataset import Dataset
from model.events.table import PARTS
from model.events.timelines import Timeline, Unit
from model.studies.ablations import NO_RULES, changed, cuts, variant_cell, variants
from model.studies.cells import Cell, CellStore, fingerprint
from model.studies.known_items import named
from model.studies.protocols import NAMES_BY_SOMEBODY, ask, histories_before, protocols
from model.studies.proxies import proxies
from model.studies.sentences import DESCRIBED, described
from model.studies.specialists import World, network_cell, specialist_cell, study_cells
from model.studies.subjects import LikesSubject
from model.studies.time_split import by_time

# ---- protocols ----------------------------------------------------------------------------------------------


def liked(unit: Unit) -> set[str]:
    return {entity for entity, label in zip(unit.entity_ids, unit.labels, strict=True) if label > 0}


def test_protocols_ask_only_of_their_part(world: Dataset) -> None:
    for part in ("validation", "test"):
        rows = world.events.filter(pl.col("label") > 0, part=part)
        found = {protocol.name: protocol for protocol in protocols(world, part)}
        assert {"slates", "catalogue", "homepage"} <= set(found)
        for name, task in (("slates", SEARCH), ("homepage", HOMEPAGE), ("derived", MORE_LIKE_THIS)):
            if name in found:
                there = set(rows.filter(task=task)["entity_id"])
                assert all(liked(unit) <= there for unit in found[name].units)


def test_a_catalogue_search_is_a_judged_query_without_its_slate(world: Dataset) -> None:
    found = {protocol.name: protocol for protocol in protocols(world, "test")}
    judged = {unit.context.query for unit in found["slates"].units}
    assert all(unit.slate for unit in found["slates"].units)
    assert not any(unit.slate for unit in found["catalogue"].units)
    assert {unit.context.query for unit in found["catalogue"].units} <= judged


def test_histories_are_of_the_parts_before(world: Dataset) -> None:
    last = {
        part: max(t for line in histories_before(world, part).values() for t in line.times)
        for part in ("validation", "test")
    }
    assert last["validation"] <= last["test"]
    early = world.events.filter(pl.col("part") == "train")["timestamp"].max()
    assert last["validation"] <= early


@pytest.fixture
def with_fans(world: Dataset) -> Dataset:
    """The world with two users who liked the same three entities in its test part, and one who liked a fourth."""
    ids = [str(entity["entity_id"]) for entity in world.entities[:4]]
    pairs = [(user, entity) for user in ("fan one", "fan two") for entity in ids[:3]] + [("fan one", ids[3])]
    like = world.events.filter((pl.col("task") == HOMEPAGE) & (pl.col("label") > 0), part="test").head(1)
    rows = [
        like.with_columns(user_id=pl.lit(user), entity_id=pl.lit(entity), ranking_id=pl.lit(f"{user} {entity}"))
        for user, entity in pairs
    ]
    return replace(world, events=pl.concat([world.events, *rows]))


def test_co_likes_are_pairs_with_two_fans_against_others(with_fans: Dataset) -> None:
    ids = [str(entity["entity_id"]) for entity in with_fans.entities[:4]]
    found = {unit.context.source_entity_id: unit for unit in proxies(with_fans, "test")["co_likes"]}
    for source in ids[:3]:
        assert set(ids[:3]) - {source} <= liked(found[source])
        assert ids[3] not in liked(found[source])
    for source, unit in found.items():
        assert set(unit.entity_ids) - liked(unit)
        assert source not in unit.entity_ids


def test_proxies_are_the_same_each_time(with_fans: Dataset) -> None:
    once, again = proxies(with_fans, "test"), proxies(with_fans, "test")
    assert once["co_likes"]
    for name, units in once.items():
        assert [unit.entity_ids for unit in units] == [unit.entity_ids for unit in again[name]]


def test_sentences_are_asked_of_a_catalogue_of_films_only(world: Dataset) -> None:
    films = [{"entity_id": str(n), "display_name": name, "year": year} for n, (name, year, _) in enumerate(DESCRIBED)]
    asked = described(films)
    assert len(asked) == len(DESCRIBED) == 30
    assert asked[3].entity_ids == ("3",)
    assert asked[3].context.query == DESCRIBED[3][2]
    assert described(world.entities) == []
    assert len(described(films[:12])) == 12
    assert len({sentence for _, _, sentence in DESCRIBED}) == 30
    for name, _, sentence in DESCRIBED:
        assert name.casefold() not in sentence.casefold().split()  # whoever remembers the name needs no sentence


def test_the_same_names_are_asked_by_nobody_and_by_somebody(world: Dataset) -> None:
    users = set(world.events["user_id"].drop_nulls())
    alone, together = named(world.entities, users)
    names = {str(entity["entity_id"]): entity["display_name"] for entity in world.entities}
    assert alone
    for one, other in zip(alone, together, strict=True):
        assert one.entity_ids == other.entity_ids
        assert one.context.query == other.context.query == names[one.entity_ids[0]]
        assert one.context.user_id is None
        assert other.context.user_id in users
    assert named(world.entities, set())[1] == []
    twins = [{"entity_id": i, "display_name": name} for i, name in (("a", "Dune"), ("b", "dune"), ("c", "Up"))]
    assert [unit.entity_ids for unit in named(twins, users)[0]] == [("c",)]


def test_what_somebody_met_can_still_be_found_by_name(world: Dataset) -> None:
    protocol = {p.name: p for p in protocols(world, "test")}[NAMES_BY_SOMEBODY]
    (unit, *_) = protocol.units
    met = {unit.context.user_id: Timeline([HistoryEvent(unit.entity_ids[0])], [0.0])}
    rows = {str(entity["entity_id"]): row for row, entity in enumerate(world.entities)}
    subject = LikesSubject(Popularity().fit(np.zeros(0, int), np.zeros(0, int), 0, len(rows)), rows)
    ranked = ask(subject, replace(protocol, units=[unit]), met)
    assert len(ranked.values["recall@1"]) == 1


def test_a_cut_by_time_is_one_moment_for_everybody(world: Dataset) -> None:
    cut = by_time(world)
    timed = cut.events.filter(pl.col("user_id").is_not_null() & pl.col("timestamp").is_not_null())
    starts = timed.group_by("ranking_id").agg(pl.col("timestamp").min(), pl.col("part").unique())
    assert starts["part"].list.len().max() == 1
    by_part = {part: starts.filter(pl.col("part").list.first() == part)["timestamp"] for part in PARTS}
    assert by_part["train"].max() < by_part["validation"].min()
    assert by_part["validation"].max() < by_part["test"].min()
    assert len(by_part["test"]) == pytest.approx(len(starts) / 10, rel=0.3)
    others = pl.col("user_id").is_null() | pl.col("timestamp").is_null()
    assert cut.events.filter(others).equals(world.events.filter(others))


def test_people_of_the_test_part_are_known_or_new(world: Dataset) -> None:
    train = set(world.events.filter(part="train")["user_id"].drop_nulls())
    for protocol in protocols(world, "test"):
        for unit in protocol.units:
            user = unit.context.user_id
            if user and not protocol.name.startswith("names"):
                assert ("new user" in unit.slices) == (user not in train)


# ---- cells --------------------------------------------------------------------------------------------------


def counted(calls: list[str], name: str, settings: Mapping[str, Any]) -> Cell:
    return Cell(name, settings, 1.0, lambda: calls.append(name) or {"protocols": {}})  # type: ignore[func-returns-value]


def test_a_cell_runs_once_and_again_when_anything_of_it_changes(tmp_path: Path) -> None:
    calls: list[str] = []
    store = CellStore(tmp_path, "data")
    first = store.get(counted(calls, "ease", {"ridge": 1}))
    assert store.get(counted(calls, "ease", {"ridge": 1})) == first
    assert calls == ["ease"]
    store.get(counted(calls, "ease", {"ridge": 2}))
    store.get(counted(calls, "knn", {"ridge": 1}))
    CellStore(tmp_path, "other data").get(counted(calls, "ease", {"ridge": 1}))
    assert calls == ["ease", "ease", "knn", "ease"]


def test_a_cell_cut_short_is_run_again(tmp_path: Path) -> None:
    calls: list[str] = []
    store = CellStore(tmp_path, "data")
    store.get(counted(calls, "ease", {}))
    (written,) = tmp_path.iterdir()
    whole = written.read_bytes()
    for number, broken in enumerate((whole[:-5], whole[:9], b"", whole[:20] + b"garbage" + whole[27:]), start=2):
        written.write_bytes(broken)
        store.get(counted(calls, "ease", {}))
        assert calls == ["ease"] * number
    store.get(counted(calls, "ease", {}))
    assert len(calls) == 5


def test_time_left_counts_the_missing_cells(tmp_path: Path) -> None:
    store = CellStore(tmp_path, "data")
    cells = [counted([], name, {}) for name in ("a", "b", "c")]
    store.get(cells[1])
    assert store.missing_seconds(cells) == 2.0


def test_the_fingerprint_is_of_what_is_in_the_files(world_path: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(world_path, tmp_path / "copy")
    assert fingerprint(copy) == fingerprint(world_path)
    with (copy / "events.jsonl").open("a") as stream:
        stream.write("\n")
    assert fingerprint(copy) != fingerprint(world_path)


# ---- models -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_study(world: Dataset, small_config: Config) -> World:
    return World(world, replace(small_config, training=replace(small_config.training, steps=6, evaluations=1)))


def test_our_network_joint_and_alone(small_study: World) -> None:
    joint = network_cell(small_study, None, 0).run()
    alone = network_cell(small_study, HOMEPAGE, 0).run()
    assert set(joint["protocols"]) == set(small_study.protocols["test"])
    assert set(alone["protocols"]) == {HOMEPAGE}
    for result in (joint, alone):
        values = result["protocols"][HOMEPAGE]["values"]["ndcg@10"]
        assert len(values) == len(result["protocols"][HOMEPAGE]["groups"])
        assert all(0 <= value <= 1 for value in values)
    assert 0 <= joint["calibration"][SEARCH]["ece"] <= 1
    assert [step for step, *_ in joint["curves"]["validations"]] == [6]
    less = joint["asked without"]
    assert set(less) == {"source_entity_id not imputed", "query not imputed", "nobody told"}
    assert set(less["source_entity_id not imputed"]) == {HOMEPAGE}
    assert HOMEPAGE in less["nobody told"]
    whole, nobody = (
        found["values"]["ndcg@10"] for found in (joint["protocols"][HOMEPAGE], less["nobody told"][HOMEPAGE])
    )
    assert len(whole) == len(nobody)
    assert whole != nobody


def test_a_specialist_takes_the_setting_that_validation_likes_best(small_study: World) -> None:
    (knn,) = (cell for cell in study_cells(small_study, 1) if cell.name == "item knn")
    result = knn.run()
    assert result["chosen"] in [dict(settings) for settings in knn.settings["grid"]]
    again = specialist_cell(small_study, _only(result["chosen"])).run()
    assert again["protocols"] == result["protocols"]
    assert again["validation"] == result["validation"]


def _only(settings: Mapping[str, Any]) -> Any:
    from model.studies.specialists import SPECIALISTS

    return replace(next(s for s in SPECIALISTS if s.name == "item knn"), grid=[settings])


def test_other_seeds_and_tasks_are_other_cells(small_study: World) -> None:
    keys = {network_cell(small_study, task, seed).key("d") for task in (None, SEARCH) for seed in (0, 1)}
    assert len(keys) == 4
    assert network_cell(small_study, None, 0).key("d") in keys


def test_each_ablation_takes_one_thing_away(small_study: World) -> None:
    dataset = small_study.dataset
    every = {variant.name: variant for variant in variants(dataset)}
    assert {"joint", "without task input", "without imputation", "without about", "without kinds"} <= set(every)
    assert "about" not in changed(dataset, every["without about"]).columns
    assert "without the country" in every
    nowhere = replace(dataset, events=dataset.events.with_columns(country=pl.lit(None, pl.String)))
    assert "without the country" not in {variant.name for variant in variants(nowhere)}
    assert changed(dataset, every["joint"]) is dataset
    keys = [variant_cell(small_study, variant, 0).key("d") for variant in every.values()]
    assert len(set(keys)) == len(keys)


def test_without_imputation_missing_fields_stay_null() -> None:
    filled = fill(Context(task=MORE_LIKE_THIS, source_entity_id="a"), NO_RULES, {"a": "Toy Story"}.get)
    assert filled.context.query is None
    with pytest.raises(MissingFieldError):
        fill(Context(task=MORE_LIKE_THIS), NO_RULES, {}.get)
    assert fill(Context(task=HOMEPAGE, history=(HistoryEvent("a"),)), NO_RULES, {}.get).context.source_entity_id is None


def test_a_cut_leaves_a_tenth_of_one_tasks_training_rankings(small_study: World) -> None:
    events = small_study.dataset.events
    joint, alone = cuts([SEARCH])
    left = changed(small_study.dataset, joint).events
    assert changed(small_study.dataset, alone).events.equals(left)
    untouched = (pl.col("task") != SEARCH) | (pl.col("part") != "train")
    assert left.filter(untouched).equals(events.filter(untouched))
    share = left.filter(~untouched)["ranking_id"].n_unique() / events.filter(~untouched)["ranking_id"].n_unique()
    assert 0.03 < share < 0.25


def test_an_ablation_is_trained_and_asked_like_the_whole(small_study: World) -> None:
    variant = next(v for v in variants(small_study.dataset) if v.name == "without the person")
    result = variant_cell(small_study, variant, 0).run()
    assert set(result["protocols"]) == set(small_study.protocols["test"])


# ---- the command --------------------------------------------------------------------------------------------


def test_the_command_writes_a_report_and_goes_on_where_it_stopped(world_path: Path, tmp_path: Path) -> None:
    arguments = ["study", "specialists", str(world_path), "--out", str(tmp_path), "--seeds", "1"]
    first = CliRunner().invoke(app, [*arguments, "--only", "popularity,content"])
    assert first.exit_code == 0, first.output
    assert "2 cells, 2 to run" in first.output
    second = CliRunner().invoke(app, [*arguments, "--only", "popularity,content,item knn"])
    assert "3 cells, 1 to run" in second.output
    written = json.loads((tmp_path / "report.json").read_text())
    assert {row["model"] for row in written["table"]} == {"popularity", "content", "item knn"}
    assert written["named"][HOMEPAGE] in {"popularity", "item knn"}
    assert "item knn" in (tmp_path / "report.html").read_text()
    popularity = [row for row in written["table"] if row["model"] == "popularity" and row["slice"] == "all"]
    assert all(np.isfinite([row["value"], row["low"], row["high"]]).all() for row in popularity)


def test_an_unknown_model_is_refused_by_name(world_path: Path, tmp_path: Path) -> None:
    arguments = ["study", "specialists", str(world_path), "--out", str(tmp_path), "--only", "bert"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code != 0
    assert "bert" in f"{result.output}{result.exception}"
