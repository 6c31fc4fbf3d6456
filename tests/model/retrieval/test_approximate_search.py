"""Approximate search over a large catalogue keeps the contract of exact search, and is used only where it is good
enough.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from app.commands import models
from bench.catalogue import make
from model.artefact import index as artefact_index
from model.artefact import lookups
from model.artefact.check import check
from model.artefact.index import index, index_large, sample_queries
from model.artefact.lookups import APPROXIMATE, EXACT
from model.artefact.manifest import MANIFEST, checksum_of, read_manifest
from model.artefact.model import Artefact, ArtefactError
from model.context.context import HOMEPAGE, SEARCH, Context
from model.retrieval import tuning
from model.retrieval.approximate import ApproximateIndex, build, faiss
from model.retrieval.exact import DenseIndex
from model.retrieval.tuning import IndexMeasurement, recall, tune

N, WIDTH = 400, 8
MATRIX = np.random.default_rng(0).standard_normal((N, WIDTH), np.float32)
Index = DenseIndex | ApproximateIndex


def approximate(matrix: np.ndarray = MATRIX, probes: int = 4) -> ApproximateIndex:
    made = build(matrix, matrix.__getitem__, faiss(), seed=0)
    made.probes = probes
    return made


APPROXIMATELY = approximate()


@pytest.fixture(scope="module", params=[DenseIndex, approximate], ids=["exact", "approximate"])
def an_index(request: pytest.FixtureRequest) -> Index:
    make_one: Callable[[np.ndarray], Index] = request.param
    return make_one(MATRIX)


# ---- what both promise --------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [0, 1, 7, N - 1, N, N + 5])
def test_as_many_rows_as_asked_for_best_first(an_index: Index, k: int) -> None:
    query = np.ones(WIDTH, np.float32)
    rows = an_index.search(query, k)
    assert rows.dtype == np.int64
    assert len(rows) == len(set(rows.tolist())) == min(k, N)
    assert (np.diff((MATRIX @ query)[rows]) <= 1e-6).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 50), st.sets(st.integers(0, N - 1)), st.integers(1, 30))
def test_what_is_excluded_is_not_found_and_others_take_its_place(seed: int, exclude: set[int], k: int) -> None:
    query = np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)
    for searched in (DenseIndex(MATRIX), APPROXIMATELY):
        rows = searched.search(query, k, exclude)
        assert len(rows) == min(k, N - len(exclude))
        assert not set(rows.tolist()) & exclude


def test_all_but_a_few_are_excluded(an_index: Index) -> None:
    assert set(an_index.search(MATRIX[0], 5, set(range(N - 3))).tolist()) == {N - 3, N - 2, N - 1}
    assert an_index.search(MATRIX[0], 5, set(range(N))).tolist() == []


def test_a_query_vector_of_nan_finds_nothing(an_index: Index) -> None:
    assert an_index.search(np.full(WIDTH, np.nan, np.float32), 5).tolist() == []


def test_ties_come_in_row_order_in_both() -> None:
    matrix = np.tile(np.eye(2, dtype=np.float32), (20, 1))
    for searched in (DenseIndex(matrix), approximate(matrix, 99)):
        assert searched.search(np.array([1, 0], np.float32), 4).tolist() == [0, 2, 4, 6]
        assert (len(searched), searched.width) == (40, 2)


def test_looking_into_every_list_is_exact_search() -> None:
    made = approximate(probes=10**6)
    for query in MATRIX[:20]:
        assert made.search(query, 10).tolist() == DenseIndex(MATRIX).search(query, 10).tolist()


def test_an_index_comes_back_from_its_file_mapped(tmp_path: Path) -> None:
    made = approximate(probes=3)
    made.write(tmp_path / "index")
    back = ApproximateIndex.read(tmp_path / "index", MATRIX.__getitem__, faiss())
    assert (back.probes, len(back), back.width) == (3, N, WIDTH)
    assert [back.search(q, 9).tolist() for q in MATRIX[:9]] == [made.search(q, 9).tolist() for q in MATRIX[:9]]
    assert f"{tmp_path / 'index'}" in Path("/proc/self/maps").read_text()


# ---- what is measured ---------------------------------------------------------------------------------------


def test_recall_is_the_share_of_what_was_wanted() -> None:
    assert recall([np.array([1, 2, 3]), np.array([4])], [np.array([2, 3]), np.array([5, 4])]) == 0.75


@pytest.mark.parametrize(("found", "exact_ms", "good"), [(0.98, 5.0, True), (0.979, 50.0, False), (1.0, 4.9, False)])
def test_an_index_is_good_where_it_finds_nearly_all_and_is_much_faster(
    found: float, exact_ms: float, good: bool
) -> None:
    assert IndexMeasurement(found, exact_ms, 1.0, 4, 10).good is good


def test_more_lists_are_looked_into_until_enough_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "DEPTH", 5)
    said: list[str] = []
    made = approximate(probes=1)
    measured = tune(made, DenseIndex(MATRIX), MATRIX[:30], said.append)
    assert measured.probes == made.probes > 1
    assert measured.recall >= 0.99 or made.probes * 4 >= made.list_count
    assert len(said) == 1 + np.log2(made.probes) + 1


# ---- in a model folder --------------------------------------------------------------------------------------


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the catalogue were large enough for an index to be faster."""
    monkeypatch.setattr(IndexMeasurement, "good", True)


@pytest.fixture
def many(model_path: Path, tmp_path: Path) -> Path:
    make(model_path, tmp_path / "many", 600)
    return tmp_path / "many"


@pytest.mark.usefixtures("good")
def test_a_model_with_an_index_serves_like_one_without(many: Path) -> None:
    before = Artefact.load(many)
    manifest, _ = index(many)
    after = Artefact.load(many)
    assert isinstance(after.dense, ApproximateIndex)
    assert after.version == manifest.version != before.version
    assert after.version.rpartition("-")[0] == before.version.rpartition("-")[0] == "made-600"
    assert {APPROXIMATE} == {APPROXIMATE, EXACT} & {path.name for path in many.iterdir()}
    assert manifest.metrics["retrieval"]["index"] == "approximate"
    check(after, limit_s=5)
    after.dense.probes = 10**6
    for context in (Context(HOMEPAGE, source_entity_id="c3"), Context(SEARCH, query=after.catalogue.names["c5"])):
        filled = after.fill(context)
        assert after.propose(after.encode_context(filled), 50) == before.propose(before.encode_context(filled), 50)


def test_an_index_that_is_not_good_enough_is_not_kept(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IndexMeasurement, "good", False)
    manifest, measured = index(many)
    assert manifest.metrics["retrieval"]["index"] == "exact"
    assert manifest.metrics["retrieval"]["queries"] == measured.queries
    assert isinstance(Artefact.load(many).dense, DenseIndex)
    assert not (many / APPROXIMATE).exists()


@pytest.mark.usefixtures("good")
def test_without_faiss_an_indexed_model_searches_exactly(
    many: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index(many)
    monkeypatch.setattr(lookups, "faiss", lambda: None)
    loaded = Artefact.load(many)
    assert isinstance(loaded.dense, DenseIndex)
    assert "faiss-cpu is not installed" in caplog.text
    assert len(loaded.propose(loaded.encode_context(loaded.fill(Context(HOMEPAGE, source_entity_id="c3"))), 20)) == 20


def test_no_index_is_built_without_faiss(
    many: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(artefact_index, "faiss", lambda: None)
    monkeypatch.setattr(artefact_index, "LEAST", 0)
    manifest = read_manifest(many)
    assert index_large(many, manifest) is manifest
    assert "stays exact" in caplog.text
    with pytest.raises(ArtefactError, match="faiss-cpu is not installed"):
        index(many)


@pytest.mark.usefixtures("good")
def test_a_new_model_is_indexed_where_it_is_large(many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(many)
    assert index_large(many, manifest) is manifest
    monkeypatch.setattr(artefact_index, "LEAST", 0)
    assert APPROXIMATE in index_large(many, manifest).files


@pytest.mark.usefixtures("good")
def test_an_index_of_another_catalogue_is_refused(many: Path, model_path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(model_path, other)
    index(many)
    index(other)
    shutil.copyfile(other / APPROXIMATE, many / APPROXIMATE)
    theirs = json.loads((other / MANIFEST).read_text())["files"][APPROXIMATE]
    manifest = json.loads((many / MANIFEST).read_text())
    manifest["files"][APPROXIMATE] = theirs
    manifest["checksum"] = checksum_of(manifest["files"])
    (many / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match="an index of 120"):
        Artefact.load(many)


def test_queries_are_drawn_for_each_task(artefact: Artefact) -> None:
    queries = sample_queries(artefact, 9, seed=1)
    assert queries.shape == (9, artefact.dense.width)
    assert np.isfinite(queries).all()
    np.testing.assert_array_equal(queries, sample_queries(artefact, 9, seed=1))
    assert not np.array_equal(queries, sample_queries(artefact, 9, seed=2))


def test_the_command_says_what_was_measured(many: Path) -> None:
    ended = CliRunner().invoke(models.app, ["index", str(many)])
    assert ended.exit_code == 0
    assert "recall@100" in ended.stdout
