"""Small layers that the ranker is built from. Shapes: B contexts, C candidates, H history events, D width."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ResidualMLP(nn.Module):
    """Linear → (LayerNorm → GELU → Linear) with a skip around it. GELU: ReLU before a dot product collapses."""

    def __init__(self, inputs: int, hidden: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.enter = nn.Linear(inputs, hidden)
        self.body = nn.Sequential(nn.LayerNorm(hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, hidden))
        self.leave = nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, outputs))

    def forward(self, values: Tensor) -> Tensor:
        """[…, inputs] → […, outputs]"""
        entered = self.enter(values)
        result: Tensor = self.leave(entered + self.body(entered))
        return result


class HistoryAttention(nn.Module):
    """What the history says of each candidate: softmax over its events, asked by the candidate (DIN, Zhou 2018)."""

    def __init__(self, width: int, kinds: int, length: int) -> None:
        super().__init__()
        self.ask = nn.Linear(width, width, bias=False)
        self.kind = nn.Embedding(kinds, width)
        self.age = nn.Embedding(length, width)
        nn.init.normal_(self.kind.weight, std=0.02)
        nn.init.normal_(self.age.weight, std=0.02)

    def events(self, history: Tensor, kinds: Tensor) -> Tensor:
        """Entity vectors [B, H, D], newest first, and their kinds [B, H] → event vectors [B, H, D]."""
        ages = torch.arange(history.shape[1], device=history.device)
        marked: Tensor = history + self.kind(kinds) + self.age(ages)
        return marked

    def forward(self, candidates: Tensor, events: Tensor, present: Tensor) -> Tensor:
        """candidates [B, C, D], events [B, H, D], present [B, H] → [B, C, D]; zeros where there is no history."""
        scale = float(events.shape[-1] ** -0.5)
        weights = self.ask(candidates) @ events.transpose(1, 2) * scale  # [B, C, H]
        weights = weights.masked_fill(~present[:, None, :], -1e4)
        read = torch.softmax(weights, dim=-1) @ events
        return read * present.any(dim=1)[:, None, None]
