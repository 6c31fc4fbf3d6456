"""Truncated SVD of a sparse matrix by randomised subspace iteration. Pure linear algebra."""

from __future__ import annotations

import torch
from torch import Tensor


def truncated_svd(matrix: Tensor, rank: int, seed: int, iterations: int = 4) -> tuple[Tensor, Tensor]:
    """The `rank` largest singular values [r] and right singular vectors [n, r] of a sparse COO matrix [m, n].

    Returns fewer than `rank` where the matrix has no more. Source: Halko, Martinsson, Tropp (2011), algorithm 4.4.
    """
    rank = min(rank, *matrix.shape)
    generator = torch.Generator().manual_seed(seed)
    probes = torch.randn(matrix.shape[1], min(rank + 16, *matrix.shape), generator=generator)
    transposed = matrix.t().coalesce()
    basis = torch.linalg.qr(torch.sparse.mm(matrix, probes)).Q
    for _ in range(iterations):
        basis = torch.linalg.qr(torch.sparse.mm(transposed, basis)).Q
        basis = torch.linalg.qr(torch.sparse.mm(matrix, basis)).Q
    small = torch.sparse.mm(transposed, basis)  # [n, r + 16] = (Qᵀ A)ᵀ
    vectors, values, _ = torch.linalg.svd(small, full_matrices=False)
    return values[:rank], vectors[:, :rank]
