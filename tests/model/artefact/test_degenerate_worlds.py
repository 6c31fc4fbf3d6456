"""Whatever a catalogue or a log lacks, `train` refuses it in one sentence, or the model answers every kind of request:
without an error, with finite scores, one candidate like many, by the service like by evaluation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
from app_fakes import client_of, settings
from degenerate import REFUSED, TINY, WORLDS, base, body, contexts

from app.main import create_app
from model.artefact.build import build
from model.artefact.check import check
from model.artefact.golden import FIELDS, GoldenRequest
from model.artefact.model import Artefact
from model.catalogue.records import NamedRecords
from model.context.context import MORE_LIKE_THIS, SEARCH, Context
from model.datasets.dataset import Dataset, write_dataset
from model.text.normalise import words

SERVED = ("everything", "no number", "nothing but id and name", "no users, no countries", "one entity", "search alone")
STRIDE = 97  # shares no factor with the numbers of values, so that all of them come
Models = Callable[[str], Artefact]

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("error::RuntimeWarning")]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So little arithmetic is slower in several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The loaded model of a world, trained once."""

    @cache
    def made(name: str) -> Artefact:
        folder = tmp_path_factory.mktemp("worlds") / "model"
        build(WORLDS[name](base()), folder, TINY)
        return Artefact.load(folder)

    return made


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_that_lacks_something_trains_and_answers(model_of: Models, name: str) -> None:
    artefact = model_of(name)
    check(artefact, 10.0)
    for context in contexts(artefact, STRIDE):
        answers(artefact, context)
    ids = artefact.catalogue.ids
    assert artefact.compute_records(ids) == [artefact.record(entity_id) for entity_id in ids]
    assert len(artefact.sample_users(3)) <= 3


def answers(artefact: Artefact, context: Context) -> None:
    """Finite scores, batch = single, records in bytes = records in memory; proposals from the catalogue."""
    ids, filled = list(artefact.catalogue.ids), artefact.fill(context)
    whole = artefact.score(filled, ids)
    assert whole.shape == (len(ids),)
    assert np.isfinite(whole).all(), context
    assert np.isfinite(artefact.probability(context, whole)).all()
    side = [one for one in artefact.context_entities(filled.context) if artefact.record(one)]
    beside, last = (artefact.unpack([artefact.record(one) or b"" for one in some]) for some in (side, ids[-1:]))
    np.testing.assert_allclose(
        artefact.prepare(artefact.encode_context(filled, NamedRecords(side, beside)))(last), whole[-1:], atol=1e-5
    )
    proposed = artefact.propose(artefact.encode_context(filled), len(ids))
    assert set(proposed) <= set(ids)
    fewest = 0 if filled.is_given("query") and not words(context.query or "") else len(ids) - 1
    assert len(set(proposed)) == len(proposed) >= fewest


@pytest.mark.parametrize("name", REFUSED)
def test_a_world_that_nothing_can_be_learned_from_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    change, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason) as caught:
        build(change(base()), tmp_path / "model", TINY)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


def test_a_number_too_large_for_a_float_is_set_aside_with_its_line(tmp_path: Path) -> None:
    world = base()
    write_dataset(tmp_path, "world", world.entities, world.events, {}, (), world.columns)
    file = tmp_path / "entities.jsonl"
    large = json.dumps({"entity_id": "large", "display_name": "Large", "price": 10**400})
    file.write_text(f"{file.read_text()}{large}\n")
    loaded = Dataset.load(tmp_path, max_rejected=0.5)
    assert [(bad.line, bad.column) for bad in loaded.rejected] == [(13, "price")]


# ── through the service ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", SERVED)
async def test_the_service_answers_every_kind_of_request(model_of: Models, tmp_path: Path, name: str) -> None:
    artefact = model_of(name)
    async with client_of(create_app(settings(state_dir=tmp_path), artefact)) as client:
        for context in contexts(artefact, STRIDE // 2):
            await served(client, artefact, context)


async def served(client: httpx.AsyncClient, artefact: Artefact, context: Context) -> None:
    """An answer with as many finite scores as there are entities to rank."""
    answer = await client.post("/v1/rank", content=body(context))
    if context.source_entity_id == "unknown":
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["pointer"] == "/context/source_entity_id"
        return
    assert answer.status_code == 200, (context, answer.text)
    scores = [item["score"] for item in answer.json()["items"]]
    wordless = context.query is not None and context.query.strip() and not words(context.query)
    assert scores or wordless or artefact.entity_count == 1, context  # the source itself is left out
    assert np.isfinite(scores).all()
    assert scores == sorted(scores, reverse=True)


# ── golden requests ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["everything", "no users, no countries", "search alone", "another task beside"])
def test_golden_requests_have_every_combination_of_given_and_missing_fields(model_of: Models, name: str) -> None:
    artefact = model_of(name)
    requests = [GoldenRequest.of(entry).context for entry in artefact.contents.golden]
    found = {(one.task, *(bool(getattr(one, field)) for field in FIELDS)) for one in requests}
    wanted = set(product(artefact.tasks, *[(False, True)] * len(FIELDS)))
    source = FIELDS.index("source_entity_id") + 1
    assert found == {one for one in wanted if one[0] != MORE_LIKE_THIS or one[source]}


def test_golden_requests_are_few_bytes(model_of: Models) -> None:
    entries = model_of("everything").contents.golden
    assert len(entries) == 80
    assert len(json.dumps(entries, indent=1)) < 64 * 1024


def test_a_model_that_fails_on_a_kind_of_request_may_not_serve(
    model_of: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search with a history, and nothing else: `models check` has to meet it."""
    artefact = model_of("everything")

    def broken(*_: object) -> None:
        raise ValueError("cannot reshape array of size 0")

    monkeypatch.setattr(artefact.scorer.matcher._history, "_write_numbers", broken)
    with pytest.raises(ValueError, match=r"golden request .* cannot reshape"):
        check(artefact, 10.0)


def test_a_context_of_unknown_words_alone_is_scored(model_of: Models) -> None:
    artefact = model_of("everything")
    answers(artefact, Context(SEARCH, query="xyzzy plugh"))
