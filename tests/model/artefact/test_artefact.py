"""The model folder: what is written is what is read, what is not whole is refused, and serving equals evaluation."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from damage import Damage, damaged, damages
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from model.artefact.build import build
from model.artefact.check import check
from model.artefact.golden import Golden
from model.artefact.lookups import EXACT
from model.artefact.manifest import FILES, MANIFEST
from model.artefact.model import Artefact, ArtefactError
from model.artefact.writing import refuse_foreign, write
from model.catalogue.records import RecordError
from model.config import Config
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context, HistoryEvent
from model.datasets.dataset import Dataset

ALL = (*FILES, EXACT)


def score(artefact: Artefact, context: Context, ids: list[str]) -> np.ndarray:
    """Logits as the service asks for them where records come as bytes."""
    filled = artefact.fill(context)
    side = [entity_id for entity_id in artefact.side_entities(filled.context) if artefact.record(entity_id)]
    blobs = [[artefact.record(entity_id) or b"" for entity_id in part] for part in (side, ids)]
    beside, candidates = (artefact.unpack(part) for part in blobs)
    return artefact.asked(filled, side, beside)(candidates)


def some_contexts(artefact: Artefact) -> list[Context]:
    user = artefact.sample_users(5)[-1]
    history = artefact.history(user)
    name = artefact.catalogue.names["e3"].lower()
    return [
        Context(SEARCH, query=name),
        Context(SEARCH, user, name[:4], "US", history=history),
        Context(SEARCH),
        Context(HOMEPAGE, user, history=history),
        Context(HOMEPAGE),
        Context(HOMEPAGE, "a stranger", country="a strange land", row_title="Cult"),
        Context(MORE_LIKE_THIS, source_entity_id="e3"),
        Context(MORE_LIKE_THIS, user, source_entity_id="e7", history=history),
        Context(MORE_LIKE_THIS, source_entity_id="unknown"),
        Context(HOMEPAGE, history=(HistoryEvent("unknown", 1.0),)),
    ]


# ---- written and read ---------------------------------------------------------------------------------------


def test_the_files_are_those_of_the_contract(model_path: Path) -> None:
    names = {"manifest.json", "weights.safetensors", "entities.parquet", "records.safetensors"}
    names |= {"features.safetensors", "histories.parquet", "golden.json", "catalogue.safetensors", EXACT}
    assert {path.name for path in model_path.iterdir()} == names
    manifest = json.loads((model_path / MANIFEST).read_text())
    for name, expected in manifest["files"].items():
        assert hashlib.sha256((model_path / name).read_bytes()).hexdigest() == expected
    assert manifest["tasks"] == ["homepage", "more_like_this", "search"]
    assert manifest["checksum"][:12] in manifest["version"]


def test_a_model_that_is_written_again_gives_the_same_scores(artefact: Artefact, tmp_path: Path) -> None:
    manifest = write(tmp_path / "copy", artefact.contents, "simulated")
    copy = Artefact.load(tmp_path / "copy")
    assert (copy.version, copy.checksum) == (manifest.version, manifest.checksum)
    assert (copy.version, copy.checksum) == (artefact.version, artefact.checksum)
    ids = artefact.catalogue.ids
    for context in some_contexts(artefact):
        assert np.array_equal(score(copy, context, ids), score(artefact, context, ids))
        assert copy.propose(copy.fill(context), 9) == artefact.propose(artefact.fill(context), 9)


def test_the_golden_scores_come_out_again(artefact: Artefact) -> None:
    entries = [Golden.of(entry) for entry in artefact.contents.golden]
    assert entries
    for entry in entries:
        logits = score(artefact, entry.context, entry.candidates)
        np.testing.assert_allclose(artefact.probability(entry.context.task, logits), entry.scores, atol=1e-5)


def test_what_serving_scores_is_what_evaluation_scores(artefact: Artefact) -> None:
    for context in some_contexts(artefact):
        encoded = artefact.catalogue.encode(artefact.fill(context))
        whole = artefact.catalogue.logits(encoded)
        np.testing.assert_allclose(score(artefact, context, artefact.catalogue.ids), whole, atol=1e-5)


def test_a_long_history_with_unknown_entities_scores_the_same_in_serving_and_evaluation(artefact: Artefact) -> None:
    known = [HistoryEvent(f"e{i}", 1.0, HOMEPAGE, i) for i in range(artefact.scorer.config.profile_length)]
    unknown = [HistoryEvent(f"gone{i}", 1.0, HOMEPAGE, 1000 + i) for i in range(artefact.scorer.config.profile_length)]
    context = Context(HOMEPAGE, query="heat", source_entity_id="e1", history=(*known, *unknown))
    encoded = artefact.catalogue.encode(artefact.fill(context))
    whole = artefact.catalogue.logits(encoded)
    np.testing.assert_allclose(score(artefact, context, artefact.catalogue.ids), whole, atol=1e-5)


def test_attributes_come_back_as_they_went_in(artefact: Artefact, world: Dataset) -> None:
    for entity in world.entities:
        assert artefact.entity(str(entity["entity_id"])) == entity
    assert artefact.entity("unknown") is None
    assert artefact.entity_count == len(world.entities)


def test_a_whole_number_comes_back_as_one(world: Dataset, small_config: Config, tmp_path: Path) -> None:
    """`"year": 1999` in, `"year": 1999` out (API.md §4), not 1999.0."""
    entities = [{**entity, "year": 1990 + number % 20} for number, entity in enumerate(world.entities)]
    dataset = replace(world, entities=entities, columns={**world.columns, "year": "number"})
    training = replace(small_config.training, steps=1, contexts_per_step=6, negatives=4, folds=2, validation_rankings=2)
    build(dataset, tmp_path / "model", replace(small_config, training=training))
    assert json.dumps((Artefact.load(tmp_path / "model").entity("e5") or {})["year"]) == "1995"


def test_histories_are_the_events_of_training_oldest_first(artefact: Artefact, world: Dataset) -> None:
    rows = world.events.filter((world.events["part"] == "train") & (world.events["user_id"] == "u3"))
    wanted = rows.sort("timestamp")["entity_id"].to_list()[-artefact.scorer.config.profile_length :]
    assert [event.entity_id for event in artefact.history("u3")] == wanted
    assert artefact.history("a stranger") == ()
    times = [event.timestamp for event in artefact.history("u3")]
    assert times == sorted(times)


@pytest.mark.parametrize("count", [0, 1, 3, 10_000])
def test_sample_users(artefact: Artefact, count: int) -> None:
    users = artefact.sample_users(count)
    assert len(users) == min(count, len(artefact.contents.histories))
    assert len(set(users)) == len(users)
    lengths = [len(artefact.history(user)) for user in users]
    assert lengths == sorted(lengths)


# ---- scores -------------------------------------------------------------------------------------------------


def test_one_candidate_alone_scores_as_among_all(artefact: Artefact) -> None:
    ids = artefact.catalogue.ids
    for context in some_contexts(artefact):
        whole = score(artefact, context, ids)
        assert np.isfinite(whole).all()
        alone = np.concatenate([score(artefact, context, [entity_id]) for entity_id in ids[:20]])
        np.testing.assert_allclose(alone, whole[:20], atol=1e-5)
        backwards = score(artefact, context, ids[::-1])
        np.testing.assert_allclose(backwards[::-1], whole, atol=1e-5)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 50])
def test_a_history_of_any_length_gives_scores(artefact: Artefact, length: int) -> None:
    history = tuple(HistoryEvent(f"e{i}", 1.0, HOMEPAGE, i) for i in range(length))
    assert np.isfinite(score(artefact, Context(HOMEPAGE, history=history), artefact.catalogue.ids)).all()


def test_no_candidates_give_no_scores(artefact: Artefact) -> None:
    assert score(artefact, Context(SEARCH, query="heat"), []).shape == (0,)


def test_records_at_the_side_that_are_missing_are_left_out(artefact: Artefact) -> None:
    context = some_contexts(artefact)[7]
    filled = artefact.fill(context)
    logits = artefact.asked(filled, [], artefact.unpack([]))(artefact.unpack([artefact.record("e1") or b""]))
    assert np.isfinite(logits).all()
    side = artefact.side_entities(filled.context)
    assert "e7" in side
    assert len(set(side)) == len(side)


def test_bytes_of_another_layout_are_refused(artefact: Artefact) -> None:
    with pytest.raises(RecordError):
        artefact.unpack([b"garbage"])


def test_probabilities_keep_the_order_of_logits(artefact: Artefact) -> None:
    for task in artefact.tasks:
        p = artefact.probability(task, np.array([-3.0, -1.0, 0.0, 2.0], np.float32))
        assert (np.diff(p) > 0).all()
        assert ((p > 0) & (p < 1)).all()


def test_a_user_or_country_that_training_never_saw_is_nobody(artefact: Artefact) -> None:
    ids = artefact.catalogue.ids[:10]
    strange = score(artefact, Context(SEARCH, "a stranger", "heat", "XX"), ids)
    assert np.array_equal(strange, score(artefact, Context(SEARCH, None, "heat", None), ids))


def test_countries_rank_apart_and_alike_when_computed_from_records(artefact: Artefact) -> None:
    ids = artefact.catalogue.ids[:30]
    here, there = (Context(HOMEPAGE, country=country) for country in artefact.contents.countries[:2])
    assert not np.array_equal(score(artefact, here, ids), score(artefact, there, ids))
    taste = artefact.catalogue.encode(artefact.catalogue.fill(here)).profile.country
    assert np.array_equal(taste, artefact.contents.tastes[0])
    assert np.abs(artefact.contents.tastes).max() > 0


def test_a_source_that_is_unknown_scores_as_none(artefact: Artefact) -> None:
    ids = artefact.catalogue.ids[:10]
    assert np.isfinite(score(artefact, Context(MORE_LIKE_THIS, source_entity_id="unknown"), ids)).all()


# ---- new entities -------------------------------------------------------------------------------------------


def test_new_entities_join_by_their_attributes_alone(artefact: Artefact) -> None:
    new = {"entity_id": "new", "display_name": "Zyzzyva Quux", "about": "a brand new thing", "price": 12.0}
    bigger = artefact.including([new, {"entity_id": "e3", "display_name": "changed"}])
    assert bigger.ids == [*artefact.catalogue.ids, "new"]
    assert bigger.names["e3"] == artefact.catalogue.names["e3"]
    encoded = bigger.encode(bigger.fill(Context(SEARCH, query="zyzzyva quux")))
    logits = bigger.logits(encoded)
    assert np.isfinite(logits).all()
    assert artefact.including([]) is artefact.catalogue


@pytest.mark.parametrize("attributes", [{}, {"about": None}, {"kinds": []}, {"price": "12"}, {"colour": "red"}])
def test_new_entities_may_lack_attributes_or_have_others(artefact: Artefact, attributes: dict[str, object]) -> None:
    bigger = artefact.including([{"entity_id": "new", "display_name": "New", **attributes}])
    encoded = bigger.encode(bigger.fill(Context(SEARCH, query="new")))
    assert np.isfinite(bigger.logits(encoded)).all()


# ---- proposals ----------------------------------------------------------------------------------------------


def test_a_prefix_of_a_name_proposes_its_entity(artefact: Artefact) -> None:
    for entity_id in artefact.catalogue.ids[:30]:
        own = artefact.catalogue.names[entity_id].lower().split()[0]
        assert entity_id in artefact.propose(artefact.fill(Context(SEARCH, query=own)), 10)
        assert entity_id in artefact.propose(artefact.fill(Context(SEARCH, query=own[:-1])), 10)


def test_the_source_is_never_proposed(artefact: Artefact) -> None:
    for entity_id in artefact.catalogue.ids[:30]:
        filled = artefact.fill(Context(MORE_LIKE_THIS, source_entity_id=entity_id))
        proposed = artefact.propose(filled, artefact.entity_count)
        assert entity_id not in proposed
        assert len(proposed) == len(set(proposed)) == artefact.entity_count - 1


@pytest.mark.parametrize("limit", [0, 1, 7, 10_000])
def test_at_most_as_many_are_proposed_as_asked_for(artefact: Artefact, limit: int) -> None:
    for context in some_contexts(artefact):
        proposed = artefact.propose(artefact.fill(context), limit)
        assert len(proposed) <= limit
        assert len(set(proposed)) == len(proposed)
        assert len(proposed) >= min(limit, artefact.entity_count - 1)


def test_what_is_excluded_is_not_proposed(artefact: Artefact) -> None:
    filled = artefact.fill(Context(SEARCH, query=artefact.catalogue.names["e3"]))
    first = artefact.propose(filled, 5)
    assert first[0] == "e3"
    again = artefact.propose(filled, 5, exclude=[*first, "unknown"])
    assert not set(first) & set(again)


# ---- refused ------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(model_path: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may break."""
    return Path(shutil.copytree(model_path, tmp_path / "copy"))


def edit(folder: Path, change: Callable[[dict[str, object]], None]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def reseal(folder: Path) -> None:
    """Checksums of the files as they are now, so that the checks behind them are reached."""

    def change(manifest: dict[str, object]) -> None:
        files = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in ALL}
        checksum = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
        manifest |= {"files": files, "checksum": checksum, "version": f"simulated-{checksum[:12]}"}

    edit(folder, change)


def refused(folder: Path, match: str) -> None:
    """Loading fails with one line that says why."""
    with pytest.raises(ArtefactError, match=match) as caught:
        Artefact.load(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("name", ALL)
def test_a_missing_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    refused(copy, f"{name} is missing")


@pytest.mark.parametrize("name", ALL)
def test_a_tampered_file(copy: Path, name: str) -> None:
    blob = bytearray((copy / name).read_bytes())
    blob[len(blob) // 2] ^= 1
    (copy / name).write_bytes(blob)
    refused(copy, f"{name} does not match the checksum")


@pytest.mark.parametrize("name", ALL)
def test_a_truncated_file(copy: Path, name: str) -> None:
    (copy / name).write_bytes((copy / name).read_bytes()[:-20])
    refused(copy, f"{name} does not match the checksum")


@pytest.mark.parametrize("name", [name for name in ALL if name != "golden.json"])
def test_a_file_that_is_something_else_with_its_checksum_right(copy: Path, name: str) -> None:
    (copy / name).write_bytes(b"something else altogether")
    reseal(copy)
    refused(copy, ".")


@pytest.mark.parametrize("sealed", [True, False])
@settings(deadline=None, max_examples=60)
@given(name=st.sampled_from([*FILES, MANIFEST]), done=damages("flip", "cut", "insert"))
def test_damaged_bytes_are_refused_in_one_line_or_harmless(
    model_path: Path, tmp_path_factory: pytest.TempPathFactory, name: str, done: list[Damage], sealed: bool
) -> None:
    """Where the checksums are made to fit, the readers behind them get to see the damage, and then the checks."""
    copy = Path(shutil.copytree(model_path, tmp_path_factory.mktemp("damaged") / "copy"))
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(damaged(whole, done))
    changed = (copy / name).read_bytes() != whole
    if sealed and name != MANIFEST:
        reseal(copy)
    reason = why_refused(copy)
    shutil.rmtree(copy)
    assert "\n" not in reason
    assert reason or sealed or name == MANIFEST or not changed


def why_refused(folder: Path) -> str:
    """The reason, empty where the model may serve; any other error than `ArtefactError` is a failure."""
    try:
        check(Artefact.load(folder), 10.0)
    except ArtefactError as error:
        return str(error)
    return ""


def test_tokens_that_no_vocabulary_has(copy: Path) -> None:
    """Found by damage: a record whose checksum is right and whose tokens are not."""
    records = load_file(copy / "records.safetensors")
    records["tokens"] = np.full_like(records["tokens"], 2**32 - 1)
    save_file(records, copy / "records.safetensors")
    reseal(copy)
    with pytest.raises(ArtefactError):
        check(Artefact.load(copy), 10.0)


def test_a_table_without_its_columns(copy: Path) -> None:
    pl.DataFrame({"id": [f"e{n}" for n in range(120)]}).write_parquet(copy / "entities.parquet")
    reseal(copy)
    refused(copy, 'column "entity_id"')


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(copy: Path, value: float) -> None:
    weights = load_file(copy / "weights.safetensors")
    name = next(name for name, array in weights.items() if array.ndim == 2)
    weights[name] = weights[name].copy()
    weights[name][0, 0] = value
    save_file(weights, copy / "weights.safetensors")
    reseal(copy)
    refused(copy, f"weight {name} is not finite")


def test_weights_of_another_shape_or_name(copy: Path) -> None:
    weights = load_file(copy / "weights.safetensors")
    name = next(name for name, array in weights.items() if array.ndim == 2)
    weights[name] = weights[name][:, :-1].copy()
    save_file(weights, copy / "weights.safetensors")
    reseal(copy)
    refused(copy, ".")


def test_fewer_records_than_entities(copy: Path) -> None:
    records = load_file(copy / "records.safetensors")
    ends = records["token_offsets"][:-1]
    fewer = {name: column[:-1].copy() for name, column in records.items() if not name.startswith("token")}
    save_file(
        {**fewer, "token_offsets": ends.copy(), "tokens": records["tokens"][: ends[-1]].copy()},
        copy / "records.safetensors",
    )
    reseal(copy)
    refused(copy, ".")


@pytest.mark.parametrize("name", ["vector", "static", "token_offsets", "tokens"])
def test_columns_of_records_that_disagree_or_lack(copy: Path, name: str) -> None:
    records = load_file(copy / "records.safetensors")
    for changed in ({**records, name: records[name][:-1].copy()}, {n: c for n, c in records.items() if n != name}):
        save_file(changed, copy / "records.safetensors")
        reseal(copy)
        refused(copy, ".")


@pytest.mark.parametrize("name", ["width", "text_width", "engagement_width", "scorer_hidden", "category_buckets"])
def test_a_manifest_that_states_another_width(copy: Path, name: str) -> None:
    edit(copy, lambda manifest: manifest["config"]["network"].update({name: 24}))
    refused(copy, ".")


def test_a_file_and_its_checksum_both_exchanged(copy: Path) -> None:
    """The version names the files: other files under the same version would meet the cache of the old ones."""
    (copy / "golden.json").write_text("[]")
    digest = hashlib.sha256((copy / "golden.json").read_bytes()).hexdigest()
    edit(copy, lambda manifest: manifest["files"].update({"golden.json": digest}))
    refused(copy, "checksum")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "3",
        '"text"',
        "{}",
        '{"format": 99}',
        '{"format": 1}',
        '{"format": 1, "files": null}',
        "\0",
        "[" * 100_000,
    ],
)
def test_a_manifest_that_is_none(copy: Path, text: str) -> None:
    (copy / MANIFEST).write_text(text)
    refused(copy, ".")


@pytest.mark.parametrize("key", ["tasks", "columns", "imputation", "config", "sizes", "numbers", "calibration"])
@pytest.mark.parametrize("value", [None, 3])
def test_a_manifest_with_one_entry_of_a_wrong_type(copy: Path, key: str, value: object) -> None:
    edit(copy, lambda manifest: manifest.update({key: value}))
    refused(copy, ".")


def test_a_folder_that_is_not_a_model(tmp_path: Path) -> None:
    refused(tmp_path, "is not a model")
    refused(tmp_path / "nowhere", "is not a model")
    (tmp_path / "file").write_text("text")
    refused(tmp_path / "file", ".")


def test_a_foreign_folder_is_not_overwritten(tmp_path: Path, artefact: Artefact) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    refuse_foreign(folder)  # empty: fine
    (folder / "chapter.txt").write_text("years of work")
    with pytest.raises(ArtefactError, match="is not empty and is not a model"):
        write(folder, artefact.contents, "simulated")
    assert (folder / "chapter.txt").read_text() == "years of work"
    with pytest.raises(ArtefactError, match="is not a model"):
        refuse_foreign(folder / "chapter.txt")


def test_a_foreign_folder_with_a_manifest_of_its_own_is_not_overwritten(tmp_path: Path, artefact: Artefact) -> None:
    """Web pages, browser extensions and container images have a manifest.json, too."""
    folder = tmp_path / "extension"
    folder.mkdir()
    (folder / MANIFEST).write_text('{"manifest_version": 3, "name": "My extension"}')
    (folder / "background.js").write_text("years of work")
    with pytest.raises(ArtefactError, match="is not a model"):
        write(folder, artefact.contents, "simulated")
    assert (folder / "background.js").read_text() == "years of work"


def test_a_model_replaces_an_older_one(copy: Path, artefact: Artefact) -> None:
    write(copy, artefact.contents, "again")
    assert Artefact.load(copy).version.startswith("again-")
    assert sorted(path.name for path in copy.parent.iterdir()) == ["copy"]
