"""Item-based nearest neighbours: recommends what users of the same items also like. No learning, no time.

Source: Deshpande & Karypis, TOIS 2004 (cosine, the most similar items of each item); shrinkage as in Bell &
Koren, KDD Cup 2007, against similarities that rest on few users.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from model.baselines.popularity import Ints, Scores, distinct_likes

_BLOCK_ITEMS = 128  # rows of the dense similarity block: 10 MB at 20,000 items
_BLOCK_PAIRS = 4_000_000  # (item, item of the same user) pairs counted at once: 32 MB an array


class ItemKNN:
    """Cosine over binary likes: similarity(i, j) = both / (√(likes of i · likes of j) + shrink)."""

    def __init__(self, neighbours: int = 100, shrink: float = 10.0) -> None:
        if neighbours < 1 or shrink < 0:
            raise ValueError(f"expected neighbours ≥ 1 and shrink ≥ 0, got {neighbours} and {shrink}")
        self._neighbours = neighbours
        self._shrink = shrink
        self._nearest: Ints = np.zeros((0, 0), dtype=np.int64)  # [n_items, K] indices
        self._similarity: Scores = np.zeros((0, 0), dtype=np.float32)  # [n_items, K], 0 = no neighbour

    def fit(self, users: Ints, items: Ints, n_users: int, n_items: int) -> ItemKNN:
        """Find the neighbours of each item from the likes `users` [M], `items` [M]; repeats count once.

        Time grows with the sum of squared history lengths: 1.9 million likes of 100,000 users on 20,000 items
        (96 million pairs) take 5.6 s on one core.
        """
        likes = _Likes(*distinct_likes(users, items, n_users, n_items), n_users, n_items)
        k = min(self._neighbours, n_items)
        self._nearest = np.zeros((n_items, k), dtype=np.int64)
        self._similarity = np.zeros((n_items, k), dtype=np.float32)
        for start, stop in likes.blocks():
            values, places = self._similarities(likes, start, stop).topk(k, dim=1, sorted=False)
            self._nearest[start:stop], self._similarity[start:stop] = places.numpy(), values.numpy()
        return self

    def scores(self, history_items: Ints) -> Scores:
        """Sum, over the distinct items of the history [H], of their similarity to each neighbour: [n_items].

        Items unknown to the fit (any other index) add nothing. A history item is scored like any other.
        """
        n_items = self._nearest.shape[0]
        history = np.unique(np.asarray(history_items, dtype=np.int64))
        history = history[(history >= 0) & (history < n_items)]
        nearest, similarity = self._nearest[history].ravel(), self._similarity[history].ravel()
        return np.bincount(nearest, weights=similarity, minlength=n_items).astype(np.float32)

    def _similarities(self, likes: _Likes, start: int, stop: int) -> torch.Tensor:
        """Similarity of the items start to stop to all: [stop - start, n_items]; 0 to themselves."""
        both = torch.from_numpy(likes.together(start, stop)).float()
        popularity = torch.from_numpy(likes.of_item).clamp(min=1).float()  # without likes: 0 / 1
        both.div_(torch.outer(popularity[start:stop], popularity).sqrt_().add_(self._shrink))
        both.diagonal(offset=start).zero_()
        return both


class _Likes:
    """Likes in both orders, as offsets into flat arrays: the items of a user, the users of an item."""

    def __init__(self, users: Ints, items: Ints, n_users: int, n_items: int) -> None:
        self.n_items = n_items
        self.of_user = np.bincount(users, minlength=n_users)
        self.of_item = np.bincount(items, minlength=n_items)
        self._items = items  # ordered by user
        self._users = users[np.argsort(items, kind="stable")]  # ordered by item
        self._first_of_user = np.concatenate([[0], np.cumsum(self.of_user)])
        self._first_of_item = np.concatenate([[0], np.cumsum(self.of_item)])

    def blocks(self) -> Iterator[tuple[int, int]]:
        """Ranges of items that bound the memory of `together` (a single item may exceed the bound)."""
        upto = np.concatenate([[0], np.cumsum(self.of_user[self._users])])[self._first_of_item]
        start = 0
        while start < self.n_items:
            fits = int(np.searchsorted(upto, upto[start] + _BLOCK_PAIRS, side="right")) - 1
            stop = min(max(fits, start + 1), start + _BLOCK_ITEMS, self.n_items)
            yield start, stop
            start = stop

    def together(self, start: int, stop: int) -> Ints:
        """Number of users who like both, for the items start to stop and all items: [stop - start, n_items]."""
        users = self._users[self._first_of_item[start] : self._first_of_item[stop]]
        rows = np.repeat(np.arange(stop - start) * self.n_items, self.of_item[start:stop])
        lengths = self.of_user[users]
        shift = self._first_of_user[users] - (np.cumsum(lengths) - lengths)
        columns = self._items[np.arange(lengths.sum()) + np.repeat(shift, lengths)]
        cells = np.repeat(rows, lengths) + columns
        counts = np.bincount(cells, minlength=(stop - start) * self.n_items)
        return counts.reshape(stop - start, self.n_items)
