"""The folded ranker gives the logits of the plain one, whatever parts of a context there are and however it is set."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from model.artefact.model import Artefact
from model.config import NetworkConfig
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context
from model.network.fast import evidence
from model.network.fast.context_side import ContextArrays
from model.network.fast.folded import FoldedRanker
from model.network.ranker import ContextBatch, Ranker, Sizes

C, H, D, F, M = 9, 4, 8, 7, 7
SIZES = Sizes(tasks=3, users=4, countries=2, entities=9, features=F, numbers=2)
CONFIG = NetworkConfig(
    width=D, text_width=6, engagement_width=5, tower_hidden=16, scorer_hidden=16, history_length=H, feature_bins=3,
    category_buckets=32,
)  # fmt: skip


def ranker_of(config: NetworkConfig) -> Ranker:
    """Random weights and feature scales in every place."""
    torch.manual_seed(1)
    ranker = Ranker(config, SIZES)
    for parameter in ranker.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    rng = np.random.default_rng(0)
    ranker.features.fit([rng.normal(size=(40, F)).astype(np.float32) ** 3 for _ in range(3)])
    ranker.features.inverse[2, 1:] = 0  # a feature with a single bin
    return ranker.eval()


def context(task: int, events: int) -> ContextBatch:
    """One random context with that many events; source and query are there."""
    g = torch.Generator().manual_seed(10 * task + events)
    present = torch.arange(max(events, 1))[None] < events
    return ContextBatch(
        task=torch.tensor([task]), user=torch.tensor([1]), country=torch.tensor([0]), missing=torch.ones(1, M),
        query=torch.randn(1, 6, generator=g), profile=torch.randn(1, 12, generator=g),
        source=torch.randn(1, D, generator=g),
        history=torch.randn(1, max(events, 1), D, generator=g) * present[:, :, None],
        kinds=torch.randint(0, 6, (1, max(events, 1)), generator=g) * present, present=present,
    )  # fmt: skip


def one(batch: ContextBatch, events: int) -> ContextArrays:
    """The same context as arrays."""
    return ContextArrays(
        int(batch.task), int(batch.user), int(batch.country), batch.missing[0].numpy(), batch.query[0].numpy(),
        batch.profile[0].numpy(), batch.source[0].numpy(), batch.history[0, :events].numpy(),
        batch.kinds[0, :events].numpy(),
    )  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"task_input": False}, {"learned_dropout": 1.0}], ids=lambda c: str(c))
@pytest.mark.parametrize("events", [0, 1, 3])
@pytest.mark.parametrize("columns", [[0, 1, 2, 3, 4, 5, 6], [1, 2, 6], [5], []])
@torch.inference_mode()
def test_folded_is_plain(columns: list[int], events: int, changes: dict[str, bool | float]) -> None:
    ranker = ranker_of(replace(CONFIG, **changes))
    ready = FoldedRanker(ranker)
    g = torch.Generator().manual_seed(5)
    vectors, constant = torch.randn(C, D, generator=g), torch.randn(F, generator=g)
    features = constant.repeat(C, 1)
    chosen = np.array(columns, np.int64)
    features[:, columns] = torch.randn(C, len(columns), generator=g)
    for task in range(3):
        batch = context(task, events)
        plain = ranker.score(batch, vectors[None], features[None])[0]
        found = ready.context(one(batch, events), chosen, constant.numpy())
        torch.testing.assert_close(found(vectors, features[:, columns].contiguous()), plain, rtol=1e-4, atol=1e-4)
        few = found(vectors[:2], features[:2, columns].contiguous())  # buffers are used again
        torch.testing.assert_close(few, plain[:2], rtol=1e-4, atol=1e-4)


@torch.inference_mode()
def test_both_ways_to_asinh(monkeypatch: pytest.MonkeyPatch) -> None:
    ranker, batch = ranker_of(CONFIG), context(1, 2)
    g = torch.Generator().manual_seed(5)
    vectors, features = torch.randn(C, D, generator=g), torch.randn(C, F, generator=g) * 100
    logits = []
    for vectorised in (False, True):
        monkeypatch.setattr(evidence, "ASINH_IS_VECTORISED", vectorised)
        made = FoldedRanker(ranker).context(one(batch, 2), np.arange(F), np.zeros(F, np.float32))
        logits.append(made(vectors, features))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(logits[0], ranker.score(batch, vectors[None], features[None])[0], rtol=1e-4, atol=1e-4)


def test_an_artefact_scores_as_it_was_trained(artefact: Artefact) -> None:
    catalogue = artefact.catalogue
    user, film = artefact.sample_users(3)[-1], catalogue.ids[3]
    history, country = artefact.history(user), artefact.contents.countries[0]
    rows = np.arange(50)
    for asked in (
        Context(SEARCH, query="toy"), Context(SEARCH), Context(SEARCH, user_id=user, query="a b", history=history),
        Context(MORE_LIKE_THIS, source_entity_id=film), Context(HOMEPAGE), Context(HOMEPAGE, user, history=history),
        Context(SEARCH, query="toy", country=country), Context(HOMEPAGE, user, country=country, history=history),
    ):  # fmt: skip
        encoded = catalogue.encode_context(catalogue.fill(asked))
        np.testing.assert_allclose(catalogue.logits(encoded, rows), catalogue.plain_logits(encoded, rows), atol=2e-5)
