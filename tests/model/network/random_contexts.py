"""A small network's sizes, and random contexts and candidates for it. No test."""

from __future__ import annotations

from dataclasses import fields, replace

import torch
from torch import Tensor

from model.config import NetworkConfig
from model.network.ranker import MISSING, ContextBatch, Ranker, Sizes

B, C, H, D, F = 5, 7, 4, 8, 6
CONFIG = NetworkConfig(
    width=D, text_width=6, engagement_width=5, tower_hidden=16, scorer_hidden=16, history_length=H,
    category_buckets=32, dropout=0.3,
)  # fmt: skip
SIZES = Sizes(tasks=3, users=4, countries=2, entities=9, features=F, numbers=2)


def random_ranker() -> Ranker:
    """Random weights in every place, those that start at zero included."""
    torch.manual_seed(0)
    made = Ranker(CONFIG, SIZES)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


def contexts(count: int = B, seed: int = 0) -> ContextBatch:
    """Random contexts; history lengths are 0, 1, 2, … up to H."""
    g = torch.Generator().manual_seed(seed)
    lengths = torch.arange(count) % (H + 1)
    present = torch.arange(H)[None] < lengths[:, None]
    has_source = (torch.arange(count) % 2 == 0).float()
    missing = torch.randint(0, 2, (count, len(MISSING)), generator=g).float()
    missing[:, 2] = has_source
    return ContextBatch(
        task=torch.arange(count) % 3,
        user=torch.arange(count) % 5,
        country=torch.arange(count) % 3,
        missing=missing,
        query=torch.randn(count, 6, generator=g),
        profile=torch.randn(count, 12, generator=g),
        source=torch.randn(count, D, generator=g) * has_source[:, None],
        history=torch.randn(count, H, D, generator=g) * present[:, :, None],
        kinds=torch.randint(0, 6, (count, H), generator=g) * present,
        present=present,
    )


def only(batch: ContextBatch, row: int, length: int | None = None) -> ContextBatch:
    """One context of a batch, its history cut to its length (at least one place)."""
    one = ContextBatch(**{f.name: getattr(batch, f.name)[row : row + 1] for f in fields(ContextBatch)})
    length = max(1, int(one.present.sum())) if length is None else length
    return replace(one, history=one.history[:, :length], kinds=one.kinds[:, :length], present=one.present[:, :length])


def candidates(seed: int = 1) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(B, C, D, generator=g), torch.randn(B, C, F, generator=g)


def close(one: Tensor, two: Tensor) -> None:
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
