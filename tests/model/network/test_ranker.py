"""The network: alone = in a batch, padding counts for nothing, missing parts are no NaN, wrong shapes are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from random_contexts import CONFIG, SIZES, B, C, D, candidates, close, contexts, only, random_ranker

from model.network.layers import ResidualMLP
from model.network.ranker import EntityBatch, Ranker, retrieval_entity


@pytest.fixture(scope="module")
def ranker() -> Ranker:
    return random_ranker()


# ---- batch = single -----------------------------------------------------------------------------------------


@torch.inference_mode()
def test_one_candidate_alone_scores_as_among_others(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    whole = ranker.score(batch, vectors, features)
    assert whole.shape == (B, C)
    for place in range(C):
        alone = ranker.score(batch, vectors[:, place : place + 1], features[:, place : place + 1])
        close(alone[:, 0], whole[:, place])


@torch.inference_mode()
def test_one_context_alone_scores_as_in_a_batch_padded_history_included(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    whole = ranker.score(batch, vectors, features)
    for row in range(B):
        close(ranker.score(only(batch, row), vectors[row : row + 1], features[row : row + 1])[0], whole[row])


@torch.inference_mode()
def test_what_stands_in_the_padding_does_not_matter(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    gap = ~batch.present
    other = replace(
        batch,
        history=torch.where(gap[:, :, None], torch.full_like(batch.history, 7.0), batch.history),
        kinds=torch.where(gap, torch.full_like(batch.kinds, 5), batch.kinds),
    )
    close(ranker.score(other, vectors, features), ranker.score(batch, vectors, features))


@torch.inference_mode()
def test_candidates_may_come_in_any_order(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    order = torch.tensor([3, 1, 6, 0, 2, 5, 4])
    close(ranker.score(batch, vectors[:, order], features[:, order]), ranker.score(batch, vectors, features)[:, order])


@torch.inference_mode()
def test_the_context_side_can_be_encoded_once(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    encoded = ranker.encode_contexts(batch)
    assert encoded.shape == (B, D)
    close(ranker.score_encoded(batch, encoded, vectors, features), ranker.score(batch, vectors, features))


@torch.inference_mode()
def test_entity_vectors_alone_and_in_company(ranker: Ranker) -> None:
    g = torch.Generator().manual_seed(0)
    lists = [[1, 2, 3], [4], [0], [5, 5, 6]]
    offsets = torch.tensor([0, 3, 4, 5])
    text, numbers, ids = torch.randn(4, 6, generator=g), torch.randn(4, 2, generator=g), torch.tensor([0, 9, 3, 1])
    categories = torch.tensor([value for row in lists for value in row])
    whole = ranker.entity_vectors(EntityBatch(ids, text, numbers, categories, offsets))
    assert whole.shape == (4, D)
    for row in range(4):
        own = slice(row, row + 1)
        one = EntityBatch(ids[own], text[own], numbers[own], torch.tensor(lists[row]), torch.tensor([0]))
        close(ranker.entity_vectors(one)[0], whole[row])


# ---- missing parts ------------------------------------------------------------------------------------------


@torch.inference_mode()
@pytest.mark.parametrize("part", ["query", "source", "history", "everything"])
def test_what_is_missing_is_no_nan_and_its_content_does_not_matter(ranker: Ranker, part: str) -> None:
    batch, (vectors, features) = contexts(), candidates()
    missing, present = batch.missing.clone(), batch.present.clone()
    source = batch.source.clone()
    if part in ("query", "everything"):
        missing[:, :2] = 0
    if part in ("source", "everything"):
        missing[:, 2:4] = 0
        source = torch.zeros_like(source)
    if part in ("history", "everything"):
        missing[:, 6] = 0
        present = torch.zeros_like(present)
    without = replace(batch, missing=missing, present=present, source=source)
    logits = ranker.score(without, vectors, features)
    assert torch.isfinite(logits).all()
    if part != "source":
        disturbed = replace(without, history=batch.history + 3) if part != "query" else without
        if part != "history":
            disturbed = replace(disturbed, query=batch.query - 9)
        close(ranker.score(disturbed, vectors, features), logits)


@torch.inference_mode()
def test_each_part_of_a_context_is_heard(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    logits = ranker.score(batch, vectors, features)
    with_query = replace(batch, missing=torch.ones_like(batch.missing))
    changes = {
        "task": replace(batch, task=(batch.task + 1) % 3),
        "user": replace(batch, user=(batch.user + 1) % 5),
        "country": replace(batch, country=(batch.country + 1) % 3),
        "profile": replace(batch, profile=batch.profile + 1),
        "source": replace(batch, source=batch.source + 1),
    }
    for name, changed in changes.items():
        assert not torch.allclose(ranker.score(changed, vectors, features), logits), name
    heard = ranker.score(with_query, vectors, features)
    assert not torch.allclose(ranker.score(replace(with_query, query=batch.query + 1), vectors, features), heard)
    assert not torch.allclose(ranker.score(replace(with_query, history=batch.history + 1), vectors, features), heard)


# ---- shapes -------------------------------------------------------------------------------------------------


def test_wrong_shapes_are_refused_in_words(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    with pytest.raises(ValueError, match=r"expected candidates \[B, C, 8\] and features \[B, C, 6\], got"):
        ranker.score(batch, vectors[:, :, :-1], features)
    with pytest.raises(ValueError, match="expected candidates"):
        ranker.score(batch, vectors, features[:, :, :-1])
    with pytest.raises(ValueError, match="expected candidates"):
        ranker.score(batch, vectors[:, :-1], features)
    with pytest.raises(ValueError, match="expected 4 contexts"):
        ranker.score(batch, vectors[:4], features[:4])


def twin(ranker: Ranker, **changes: bool | float) -> Ranker:
    """The same weights under another configuration."""
    made = Ranker(replace(CONFIG, **changes), SIZES)
    made.load_state_dict(ranker.state_dict())
    return made.eval()


@torch.inference_mode()
def test_without_task_input_all_tasks_score_alike(ranker: Ranker) -> None:
    blind, (vectors, features) = twin(ranker, task_input=False), candidates()
    first, second = (replace(contexts(), task=torch.full((B,), task)) for task in (0, 2))
    close(blind.score(first, vectors, features), blind.score(second, vectors, features))
    close(blind.score(first, vectors, features), ranker.score(first, vectors, features))
    assert not torch.allclose(ranker.score(first, vectors, features), ranker.score(second, vectors, features))


@torch.inference_mode()
def test_without_learned_vectors_match_features_alone_tell_candidates_apart(ranker: Ranker) -> None:
    plain, (vectors, features) = twin(ranker, learned_dropout=1.0), candidates()
    batch = contexts()
    close(plain.score(batch, vectors + 1, features), plain.score(batch, vectors, features))
    assert not torch.allclose(ranker.score(batch, vectors + 1, features), ranker.score(batch, vectors, features))


@torch.inference_mode()
def test_no_candidates_and_one(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    assert ranker.score(batch, vectors[:, :0], features[:, :0]).shape == (B, 0)
    assert ranker.score(only(batch, 0), vectors[:1, :1], features[:1, :1]).shape == (1, 1)


@torch.inference_mode()
def test_extreme_features_give_finite_logits(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    assert torch.isfinite(ranker.score(batch, vectors, features * 1e6)).all()


# ---- learning -----------------------------------------------------------------------------------------------


def test_every_parameter_of_the_score_gets_a_gradient(ranker: Ranker) -> None:
    torch.manual_seed(0)
    learner = Ranker(replace(CONFIG, learned_dropout=0.0, dropout=0.0), SIZES)
    learner.load_state_dict(ranker.state_dict())
    batch, (vectors, features) = contexts(), candidates()
    encoded = learner.encode_contexts(batch)
    near = learner.retrieval_logits(batch, encoded, vectors, features[:, :, :2])
    (learner.score(batch, vectors, features).sum() + near.sum()).backward()
    silent = [n for n, p in learner.named_parameters() if p.grad is None and not n.startswith("entity_tower")]
    assert silent == []
    assert all(torch.isfinite(p.grad).all() for p in learner.parameters() if p.grad is not None)


@torch.inference_mode()
def test_dropout_is_for_training_alone(ranker: Ranker) -> None:
    batch, (vectors, features) = contexts(), candidates()
    close(ranker.score(batch, vectors, features), ranker.score(batch, vectors, features))


# ---- retrieval ----------------------------------------------------------------------------------------------


@torch.inference_mode()
def test_what_is_retrieved_is_what_was_learned(ranker: Ranker) -> None:
    """The dot product of the index equals the logit of the retrieval loss."""
    g = torch.Generator().manual_seed(3)
    batch, (vectors, _) = contexts(), candidates()
    z, inverse, liked = torch.randn(C, 5, generator=g), torch.rand(C, generator=g) + 1, torch.randn(B, 5, generator=g)
    text, asked = torch.randn(C, 3, generator=g), torch.randn(B, 3, generator=g)
    ranker = twin(ranker)
    ranker.engagement_scale.data += 0.7
    ranker.text_scale.data -= 0.3
    encoded = ranker.encode_contexts(batch)
    affinity = torch.stack([liked @ z.T * inverse, asked @ text.T], dim=-1)
    learned = ranker.retrieval_logits(batch, encoded, vectors[:1].expand(B, C, D), affinity)
    index = retrieval_entity(vectors[0], z, inverse, text)
    assert index.shape == (C, D + 5 + 3)
    close(ranker.retrieval_query(batch, encoded, liked, asked) @ index.T, learned)


# ---- layers -------------------------------------------------------------------------------------------------


def test_residual_mlp_shapes() -> None:
    layer = ResidualMLP(5, 8, 3, 0.0)
    assert layer(torch.zeros(2, 4, 5)).shape == (2, 4, 3)
