"""In training a context has all learned inputs or none, at the rate that is set; serving always has all of them."""

from __future__ import annotations

from dataclasses import replace

import torch
from random_contexts import CONFIG, SIZES, B, candidates, contexts, random_ranker

from model.network.ranker import Ranker


@torch.inference_mode()
def test_training_drops_all_learned_inputs_of_a_context_or_none() -> None:
    """A network that rarely sees them together does not learn to use them."""
    weights = random_ranker().state_dict()
    quiet = replace(CONFIG, dropout=0.0, learned_dropout=0.4)
    batch, (vectors, features) = contexts(), candidates()
    outcomes = {}
    for name, config in (("all", quiet), ("none", replace(quiet, learned_dropout=1.0))):
        model = Ranker(config, SIZES)
        model.load_state_dict(weights)
        outcomes[name] = model.eval().score(batch, vectors, features)
    learner = Ranker(quiet, SIZES)
    learner.load_state_dict(weights)
    kept, draws = 0, 60
    for seed in range(draws):
        torch.manual_seed(seed)
        scores = learner.train().score(batch, vectors, features)
        for row in range(B):
            whole, bare = (torch.allclose(scores[row], outcomes[name][row], atol=1e-5) for name in ("all", "none"))
            assert whole != bare
            kept += whole
    assert 0.5 < kept / (draws * B) < 0.7
