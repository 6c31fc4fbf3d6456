"""A configuration that trains in seconds, as the TOML file that `--config` reads."""

from __future__ import annotations

NETWORK = {
    "width": 16, "text_width": 16, "text_buckets": 4096, "engagement_width": 16,
    "tower_hidden": 32, "scorer_hidden": 32,
}  # fmt: skip
TRAINING = {
    "steps": 2, "evaluations": 1, "contexts_per_step": 9, "negatives": 8, "validation_rankings": 8, "folds": 2,
}  # fmt: skip


def tiny_toml(seed: int = 0, **training: int) -> str:
    """The text of the file, with other settings of training where they are named."""
    return f"seed = {seed}\n\n[network]\n{_lines(NETWORK)}\n[training]\n{_lines(TRAINING | training)}"


def _lines(settings: dict[str, int]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in settings.items())
