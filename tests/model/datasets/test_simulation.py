"""The simulated dataset is determined by its seed, valid, and has the properties that it documents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from model.datasets.dataset import Dataset
from model.datasets.quality import validate
from model.datasets.simulation import make_world, simulate


def test_the_same_seed_writes_the_same_files(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("two", 3), ("other", 4)):
        simulate(tmp_path / name, entities=80, users=20, queries=30, seed=seed)
    one, two, other = ((tmp_path / n / "events.jsonl").read_bytes() for n in ("one", "two", "other"))
    assert one == two
    assert one != other


def test_it_is_a_valid_dataset_with_all_tasks_in_all_parts(tmp_path: Path) -> None:
    simulate(tmp_path)
    report = validate(tmp_path, max_rejected=0)
    assert (report.errors, report.warnings, report.rejected) == ([], [], [])
    events = Dataset.load(tmp_path).events
    assert events.group_by("task", "part").len().height == 9
    assert events["country"].n_unique() == 5  # four and unknown


def test_slates_have_ten_distinct_entities_and_both_labels(tmp_path: Path) -> None:
    simulate(tmp_path, entities=100, users=10, queries=50)
    events = Dataset.load(tmp_path).events.filter(pl.col("task") == "search")
    slates = events.group_by("ranking_id").agg(
        pl.col("entity_id").n_unique().alias("entities"),
        pl.col("label").n_unique().alias("labels"),
        pl.col("position").sort(),
    )
    assert set(slates["entities"]) == {10}
    assert set(slates["labels"]) == {2}
    assert slates["position"].to_list() == [list(range(1, 11))] * 50


@pytest.mark.parametrize("overlap", [0.0, 0.5, 1.0])
def test_overlap_is_the_share_of_entities_on_both_surfaces(tmp_path: Path, overlap: float) -> None:
    world = simulate(tmp_path, entities=200, users=20, queries=20, overlap=overlap)
    shared = set(world.searchable) & set(world.recommendable)
    assert len(shared) == 200 * overlap
    assert len(set(world.searchable) | set(world.recommendable)) == 200
    events = Dataset.load(tmp_path).events
    searched = set(events.filter(pl.col("task") == "search")["entity_id"])
    assert searched <= {f"e{index}" for index in world.searchable}
    others = events.filter(pl.col("task") != "search")
    assert set(others["entity_id"]) <= {f"e{index}" for index in world.recommendable}


def test_users_like_their_clusters_and_pairs_stay_within_one(tmp_path: Path) -> None:
    world = simulate(tmp_path, users=100)
    events = Dataset.load(tmp_path).events
    cluster = {f"e{index}": int(number) for index, number in enumerate(world.cluster)}
    home = events.filter(pl.col("task") == "homepage").select("user_id", "entity_id", "label")
    inside = [label for user, entity, label in home.iter_rows() if cluster[entity] in world.tastes[int(user[1:])]]
    assert 0.70 < sum(inside) / len(inside) < 0.80
    pairs = events.filter((pl.col("task") == "more_like_this") & (pl.col("label") > 0))
    assert all(cluster[s] == cluster[t] for s, t in pairs.select("source_entity_id", "entity_id").iter_rows())


def test_local_taste_is_that_of_the_country_and_changes_nothing_else(tmp_path: Path) -> None:
    nobody, somebody, everybody = (
        simulate(tmp_path / str(share), users=100, local_taste=share) for share in (0.0, 0.5, 1.0)
    )
    taste_of = dict(zip(everybody.countries, everybody.tastes, strict=True))
    assert everybody.tastes == [taste_of[country] for country in everybody.countries]
    assert len(set(taste_of.values())) == 4
    assert nobody.tastes == make_world(400, 100, 0.5, 8, np.random.default_rng(0)).tastes
    local = sum(taste == taste_of[country] for taste, country in zip(somebody.tastes, somebody.countries, strict=True))
    assert 35 < local < 70
    assert somebody.entities == nobody.entities
    with pytest.raises(ValueError, match="share of local taste"):
        simulate(tmp_path, local_taste=1.5)


def test_names_are_distinct_in_a_large_world() -> None:
    world = make_world(5000, 1, 0.5, 8, np.random.default_rng(0))
    assert len({str(entity["display_name"]) for entity in world.entities}) == 5000


def test_time_runs_forward_for_each_user(tmp_path: Path) -> None:
    simulate(tmp_path, entities=100, users=20, queries=10)
    events = Dataset.load(tmp_path).events.filter(pl.col("task") == "homepage")
    for _, rows in events.group_by("user_id"):
        times = rows["timestamp"].to_list()
        assert times == sorted(set(times))


def test_impossible_simulation_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected 32 entities or more"):
        simulate(tmp_path, entities=10)
    with pytest.raises(ValueError, match="overlap in 0 … 1"):
        simulate(tmp_path, overlap=1.5)
