"""Losses by arithmetic that a reader can redo; padding, no positive, log-Q."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.learning.losses import binary_loss, softmax_loss


def rows(*values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def everything(like: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(like, dtype=torch.bool)


# ---- softmax ------------------------------------------------------------------------------------------------


def test_one_positive_among_equal_logits_costs_the_logarithm_of_their_number() -> None:
    logits, labels = rows([0, 0, 0, 0]), rows([0, 1, 0, 0])
    assert softmax_loss(logits, labels, everything(logits)).item() == pytest.approx(math.log(4))


def test_softmax_by_hand() -> None:
    logits, labels = rows([2.0, 1.0, 0.0]), rows([1, 0, 0])
    total = math.e**2 + math.e + 1
    assert softmax_loss(logits, labels, everything(logits)).item() == pytest.approx(-math.log(math.e**2 / total))


def test_grades_share_the_target() -> None:
    logits, labels = rows([1.0, 0.0, 0.0]), rows([3, 1, 0])
    total = math.e + 2
    wanted = -(0.75 * math.log(math.e / total) + 0.25 * math.log(1 / total))
    assert softmax_loss(logits, labels, everything(logits)).item() == pytest.approx(wanted)


def test_the_mean_is_over_contexts_that_have_a_positive() -> None:
    logits, labels = rows([0, 0], [0, 0], [5, -5]), rows([1, 0], [0, 0], [0, 0])
    assert softmax_loss(logits, labels, everything(logits)).item() == pytest.approx(math.log(2))


def test_without_any_positive_it_is_zero_and_so_is_its_gradient() -> None:
    logits = rows([1, 2], [3, 4]).requires_grad_()
    loss = softmax_loss(logits, torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.bool))
    assert loss.item() == 0
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad.any()


def test_padding_is_ignored_whatever_it_holds() -> None:
    logits, labels = rows([1.0, 0.0, 50.0], [0.5, 0.25, -3.0]), rows([1, 0, 1], [0, 1, 0])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    short = softmax_loss(logits[:, :2], labels[:, :2], mask[:, :2])
    torch.testing.assert_close(softmax_loss(logits, labels, mask), short)


def test_padding_has_no_gradient() -> None:
    logits = rows([1.0, 0.0, 2.0]).requires_grad_()
    softmax_loss(logits, rows([1, 0, 0]), torch.tensor([[True, True, False]])).backward()
    assert logits.grad is not None
    assert logits.grad[0, 2] == 0
    assert logits.grad[0, 0] == pytest.approx(math.e / (math.e + 1) - 1)


def test_a_context_of_padding_alone() -> None:
    logits, labels = rows([1, 2], [0, 0]), rows([1, 1], [1, 0])
    mask = torch.tensor([[False, False], [True, True]])
    assert softmax_loss(logits, labels, mask).item() == pytest.approx(math.log(2))


def test_log_q_is_subtracted() -> None:
    logits, labels, log_q = rows([1.0, 1.0]), rows([1, 0]), rows([0.0, math.log(0.5)])
    # the second, drawn half of the time, stands for two: e / (e + 2e)
    wanted = -math.log(1 / 3)
    assert softmax_loss(logits, labels, everything(logits), log_q).item() == pytest.approx(wanted)


def test_log_q_makes_a_sample_stand_for_the_catalogue() -> None:
    """A negative that is expected n times in the sample weighs 1/n: the sum over draws estimates the whole sum."""
    generator = torch.Generator().manual_seed(0)
    catalogue = torch.randn(40, generator=generator)
    q = torch.softmax(torch.randn(40, generator=generator), 0)
    draws = 20_000
    sampled = torch.multinomial(q, draws, replacement=True, generator=generator)
    logits = torch.cat([catalogue[:1], catalogue[sampled]])[None]
    log_q = torch.cat([torch.tensor([1e9]), torch.log(q[sampled] * draws)])[None]  # the positive is in the sample
    log_sum = torch.logsumexp(logits - log_q, 1).item()
    assert log_sum == pytest.approx(torch.logsumexp(catalogue, 0).item(), abs=0.05)


@settings(deadline=None)
@given(st.floats(-50, 50), st.integers(0, 5))
def test_softmax_does_not_see_a_common_shift(shift: float, seed: int) -> None:
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    labels, mask = (logits > 0.3).double(), logits < 2
    torch.testing.assert_close(softmax_loss(logits + shift, labels, mask), softmax_loss(logits, labels, mask))


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_extreme_logits_stay_finite(size: float) -> None:
    logits = rows([size, -size, 0]).requires_grad_()
    loss = softmax_loss(logits, rows([0, 1, 0]), everything(logits)) + binary_loss(
        logits, rows([0, 1, 0]), everything(logits)
    )
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


# ---- binary -------------------------------------------------------------------------------------------------


def test_binary_by_hand() -> None:
    logits, labels = rows([0.0, 2.0]), rows([1, 0])
    wanted = (math.log(2) + math.log(1 + math.e**2)) / 2
    assert binary_loss(logits, labels, everything(logits)).item() == pytest.approx(wanted)


def test_any_grade_is_a_positive() -> None:
    logits = rows([0.3, -1.0, 2.0])
    one, graded = rows([1, 0, 1]), rows([0.5, 0, 4])
    torch.testing.assert_close(
        binary_loss(logits, graded, everything(logits)), binary_loss(logits, one, everything(logits))
    )


def test_binary_ignores_what_is_not_under_the_mask() -> None:
    logits, labels = rows([0.0, 99.0], [0.0, -99.0]), rows([1, 0], [0, 1])
    mask = torch.tensor([[True, False], [True, False]])
    assert binary_loss(logits, labels, mask).item() == pytest.approx(math.log(2))


def test_binary_of_nothing_is_zero() -> None:
    assert binary_loss(rows([1.0]), rows([1.0]), torch.tensor([[False]])).item() == 0
