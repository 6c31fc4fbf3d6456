"""In training a context has all learned inputs or none, and sometimes these alone, at the rates that are set.

Serving always has all of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import torch
from random_contexts import CONFIG, SIZES, B, candidates, contexts, random_ranker

from model.network.ranker import Ranker

QUIET = replace(CONFIG, dropout=0.0, learned_dropout=0.4, feature_dropout=0.2)


def ranker(**changes: float) -> Ranker:
    model = Ranker(replace(QUIET, **changes), SIZES)
    model.load_state_dict(random_ranker().state_dict())
    return model


def learned_alone() -> Ranker:
    """The network with zeros where the first layer and the linear part read match features."""
    model = ranker()
    for weights in (model.from_evidence.weight[:, :-1], model.task_evidence[:, :-1], model.straight.weight):
        weights.zero_()
    return model


@torch.inference_mode()
def test_a_context_in_training_has_everything_or_one_side_alone() -> None:
    """A network that rarely sees its inputs together does not learn to use them."""
    batch, (vectors, features) = contexts(), candidates()
    models = {"everything": ranker(), "features": ranker(learned_dropout=1.0), "learned": learned_alone()}
    outcomes = {name: model.eval().score(batch, vectors, features) for name, model in models.items()}
    learner, draws, seen = ranker().train(), 100, Counter()
    for seed in range(draws):
        torch.manual_seed(seed)
        scores = learner.score(batch, vectors, features)
        for row in range(B):
            same = [name for name, whole in outcomes.items() if torch.allclose(scores[row], whole[row], atol=1e-5)]
            assert len(same) == 1
            seen.update(same)
    shares = {name: count / (draws * B) for name, count in seen.items()}
    assert abs(shares["everything"] - 0.4) < 0.1
    assert abs(shares["features"] - 0.4) < 0.1
    assert abs(shares["learned"] - 0.2) < 0.1


@torch.inference_mode()
def test_serving_has_everything_whatever_the_rates() -> None:
    batch, (vectors, features) = contexts(), candidates()
    plain = ranker(learned_dropout=0.0, feature_dropout=0.0).eval().score(batch, vectors, features)
    torch.testing.assert_close(ranker().eval().score(batch, vectors, features), plain)
