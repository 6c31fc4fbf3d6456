"""SASRec: the next like by causal self-attention (Kang & McAuley, ICDM 2018), with softmax over all items.

The full softmax instead of a single negative makes it strong (Klenitskiy & Vasilev, RecSys 2023).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from model.baselines.popularity import Ints, Scores
from model.learning.trainer import Trainer

PAD = 0  # items are shifted by one


class SASRec:
    """Trains on windows of `length` likes; scores the next item after a history."""

    def __init__(
        self, width: int = 64, blocks: int = 2, length: int = 50, dropout: float = 0.3, learning_rate: float = 1e-3,
        epochs: int = 100, batch: int = 64, seed: int = 0,
    ) -> None:  # fmt: skip
        if width < 1 or blocks < 1 or length < 2:
            raise ValueError(f"expected width and blocks ≥ 1 and length ≥ 2, got {width}, {blocks} and {length}")
        self._width, self._blocks, self._length, self._dropout = width, blocks, length, dropout
        self._learning_rate, self._epochs, self._batch, self._seed = learning_rate, epochs, batch, seed
        self._network = _Network(0, width, blocks, length, dropout)

    def fit(self, sequences: Sequence[Ints], n_items: int, validate: Callable[[], float] | None = None) -> SASRec:
        """Fit on the items of each user, oldest first. `validate` is called ten times; the best state is kept."""
        torch.manual_seed(self._seed)
        self._network = _Network(n_items, self._width, self._blocks, self._length, self._dropout)
        windows = _windows(sequences, self._length)
        steps_per_epoch = max(1, -(-len(windows) // self._batch))
        steps, interval = self._epochs * steps_per_epoch, max(1, self._epochs // 10) * steps_per_epoch
        Trainer(
            objective=_NextItem(self._network), steps=steps, batches=lambda *_: nullcontext(self._batches(windows)),
            optimiser=torch.optim.Adam(self._network.parameters(), lr=self._learning_rate),
            validate=lambda _: (validate() if validate else None, {}),
            validate_at=range(interval, steps + 1, interval) if validate else (),
        ).fit()  # fmt: skip
        return self

    def _batches(self, windows: Tensor) -> Iterator[Tensor]:
        """Every window once per epoch, in an order drawn at its start."""
        for _ in range(self._epochs):
            for rows in torch.split(torch.randperm(len(windows)), self._batch):
                yield windows[rows]

    @torch.inference_mode()
    def scores(self, history_items: Ints) -> Scores:
        """Logits of the next item [n_items] after the history [H], oldest first; zeros for an empty one."""
        history = np.asarray(history_items, np.int64)[-self._length :]
        if not len(history):
            return np.zeros(self._network.n_items, np.float32)
        last = self._network(torch.from_numpy(history + 1)[None])[:, -1]
        return np.asarray(self._network.logits(last)[0].numpy(), np.float32)


class _Network(nn.Module):
    def __init__(self, n_items: int, width: int, blocks: int, length: int, dropout: float) -> None:
        super().__init__()
        self.n_items = n_items
        self.items = nn.Embedding(n_items + 1, width, padding_idx=PAD)
        self.places = nn.Embedding(length, width)  # counted from the newest, so that short histories share positions
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 1, 2 * width, dropout, "gelu", batch_first=True, norm_first=True)
            for _ in range(blocks)
        )
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.items.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, items: Tensor) -> Tensor:
        """[B, L] → [B, L, width]; left padding is masked."""
        length = items.shape[1]
        hidden = self.drop(self.items(items) + self.places(torch.arange(length).flip(0)))
        causal = torch.ones(length, length, dtype=torch.bool).triu(1)
        blocked = causal | (items == PAD)[:, None, :]
        blocked = blocked & ~torch.eye(length, dtype=torch.bool)  # a padded position attends to itself only
        for block in self.blocks:
            hidden = block(hidden, src_mask=blocked)
        normed: Tensor = self.norm(hidden)
        return normed

    def logits(self, hidden: Tensor) -> Tensor:
        return hidden @ self.items.weight[1:].T


class _NextItem(nn.Module):
    """The objective: each position of a window predicts the next item, by softmax over all items."""

    def __init__(self, network: _Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, windows: Tensor) -> Tensor:
        """windows [B, L + 1] → scalar"""
        inputs, targets = windows[:, :-1], windows[:, 1:]
        hidden = self.network(inputs)[targets != PAD]
        return nn.functional.cross_entropy(self.network.logits(hidden), targets[targets != PAD] - 1)


def _windows(sequences: Sequence[Ints], length: int) -> Tensor:
    """Windows of length + 1 from the end of each sequence, left-padded. [W, length + 1]"""
    rows = []
    for sequence in sequences:
        for end in range(len(sequence), 1, -length):
            window = np.asarray(sequence[max(0, end - length - 1) : end], np.int64) + 1
            rows.append(np.pad(window, (length + 1 - len(window), 0)))
    return torch.from_numpy(np.stack(rows)) if rows else torch.zeros((0, length + 1), dtype=torch.long)
