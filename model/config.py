"""All hyperparameters of network and training, in two frozen dataclasses. Read once; units are in the names.

The constructors reject values outside the ranges given here. A test trains at both ends of every range.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

Section = TypeVar("Section", "NetworkConfig", "TrainingConfig")
Limits = tuple[float, float]  # lowest and highest, both allowed

OPEN = 0.99  # the largest dropout rate that still keeps some values
WIDE, MANY = 4_096, 2**24
WIDTH, SHARE = (1, WIDE), (0.0, 1.0)
SEED: Limits = (0, 2**31 - 1)  # LightGBM takes 31 bits

NETWORK: Mapping[str, Limits] = {
    "width": WIDTH, "text_width": WIDTH, "text_buckets": (2, MANY), "engagement_width": (0, WIDE),
    "engagement_ridge": (0.0, 1e9), "engagement_passed": (0.0, 10.0), "transitions": (0, 256), "id_width": WIDTH,
   "category_width": WIDTH,
    "category_buckets": (2, MANY), "user_width": WIDTH, "tower_hidden": WIDTH, "scorer_hidden": WIDTH,
    "history_length": (1, 10_000), "profile_length": (1, 10_000), "feature_bins": (2, 256), "dropout": (0.0, OPEN),
    "learned_dropout": SHARE, "feature_dropout": (0.0, OPEN),
}  # fmt: skip
TRAINING: Mapping[str, Limits] = {
    "steps": (0, 10_000_000), "contexts_per_step": (1, 100_000), "negatives": (4, 1_000_000),
    "hard_negatives": (0, 100_000), "positives": (1, 100_000), "slate": (2, 100_000), "learning_rate": (1e-9, 1.0),
    "weight_decay": (0.0, 10.0), "average": (0.0, 1.0), "teaching": SHARE, "bce_weight": (0.0, 1_000.0),
    "retrieval_weight": (0.0, 1_000.0), "task_exponent": (0.0, 2.0), "id_dropout": SHARE, "cold_dropout": SHARE,
    "row_titles": SHARE, "first_moments": SHARE, "user_dropout": SHARE, "borrowed_user": SHARE,
    "name_searches": SHARE, "history_dropout": SHARE,
    "country_dropout": SHARE, "name_query_dropout": SHARE, "folds": (2, 100), "evaluations": (1, 100_000),
    "validation_rankings": (1, 10_000_000),
}  # fmt: skip
LIMITS = {"network": NETWORK, "training": TRAINING}


class ConfigError(ValueError):
    """The configuration has an unknown setting, or a wrong type or value. The message is one line."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Widths of the network and of its inputs."""

    width: int = 64  # D: entity and context vectors
    text_width: int = 64  # frozen text vectors
    text_buckets: int = 2**16
    engagement_width: int = 0  # rank of the co-engagement space; 0 = chosen on the validation part
    engagement_ridge: float = 0.0  # the ridge of EASE; 0 = chosen on the validation part
    engagement_passed: float = 0.4  # weight of a row without a like that is alone in its ranking; a like = 1
    transitions: int = 24  # the strongest successors of an entity that its record keeps; 0 = none
    id_width: int = 32
    category_width: int = 24
    category_buckets: int = 2**13  # rows of the embedding: the null and the most frequent values
    user_width: int = 16
    tower_hidden: int = 128
    scorer_hidden: int = 128
    history_length: int = 50  # H: the newest events, whose vectors the context tower averages
    profile_length: int = 200  # the newest events, summed into the co-engagement profile
    feature_bins: int = 8  # quantile bins per match feature, inputs beside its value
    dropout: float = 0.1
    task_input: bool = True  # False = the network does not see the task (ablation)
    learned_dropout: float = 0.2  # share of contexts that a step scores without learned vectors; 1 = never with them
    feature_dropout: float = 0.2  # share of further contexts that a step scores by learned vectors alone

    def __post_init__(self) -> None:
        _check(self, "network")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Length and settings of the training. `steps` 0 = chosen from the size of the dataset."""

    steps: int = 0
    contexts_per_step: int = 96
    negatives: int = 64  # random entities per context
    hard_negatives: int = 12  # unjudged entities added to a judged slate that share words with its query
    positives: int = 4  # at most, per context that is not a judged slate
    slate: int = 32  # judged candidates per context, at most
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    average: float = 0.995  # decay of the running mean of the weights, which is the result; 0 = the last weights
    teaching: float = 0.7  # share of boosted trees in the target of a judged slate; 0 = labels alone
    bce_weight: float = 0.3
    retrieval_weight: float = 0.3
    task_exponent: float = 0.5  # tasks are sampled with p ~ n^exponent
    id_dropout: float = 0.8
    row_titles: float = 0.25  # share of homepage contexts that get a title
    first_moments: float = 0.1  # share of homepage contexts at the first moment of a user, without a history
    cold_dropout: float = 0.1  # share of entities that a step treats as never engaged
    user_dropout: float = 0.6
    borrowed_user: float = 0.5  # share of searches without a user that get a random one, so that names decide
    name_searches: float = 0.1  # share of searches that are replaced by a search for the full name of an entity
    history_dropout: float = 0.1
    country_dropout: float = 0.2
    name_query_dropout: float = 0.3  # share of imputed queries and sources that are replaced by null
    folds: int = 5
    evaluations: int = 2
    validation_rankings: int = 240  # at most, per task and evaluation

    def __post_init__(self) -> None:
        _check(self, "training")


@dataclass(frozen=True, slots=True)
class Config:
    """Settings of network and training, and the seed."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        _check_value("seed", "int", self.seed, SEED)

    def to_json(self) -> dict[str, object]:
        """As plain dictionaries, for the manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, table: dict[str, object]) -> Config:
        """Build from the table of a manifest or a TOML file. Raises `ConfigError` on wrong names, types or values."""
        unknown = set(table) - {"network", "training", "seed"}
        if unknown:
            raise ConfigError(f"unknown settings {sorted(unknown)}: expected network, training, seed")
        network = _section(NetworkConfig(), table.get("network", {}), "network")
        training = _section(TrainingConfig(), table.get("training", {}), "training")
        seed: Any = table.get("seed", 0)
        return cls(network, training, seed)

    @classmethod
    def from_toml(cls, path: Path) -> Config:
        """Read a TOML file with the tables [network] and [training] and the key seed. Raises `ConfigError`."""
        try:
            return cls.from_json(tomllib.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:  # unreadable file, not UTF-8, not TOML, or an invalid configuration
            raise ConfigError(f"{path}: {error}") from error


def _section(default: Section, table: object, name: str) -> Section:
    if not isinstance(table, dict):
        raise ConfigError(f"{name}: expected a table, got {table!r}")
    known = [entry.name for entry in fields(default)]
    for key in table:
        if key not in known:
            raise ConfigError(f"{name}.{key}: no such setting; there are {', '.join(known)}")
    return replace(default, **table)


def _check(section: NetworkConfig | TrainingConfig, name: str) -> None:
    for entry in fields(section):
        limits = LIMITS[name].get(entry.name)
        _check_value(f"{name}.{entry.name}", str(entry.type), getattr(section, entry.name), limits)


def _check_value(name: str, kind: str, value: Any, limits: Limits | None) -> None:
    """Raise `ConfigError` unless the value has the right type and, for a number, is in range; NaN never is."""
    wanted: Any = {"int": (int,), "bool": (bool,)}.get(kind, (int, float))
    span = "true or false" if limits is None else f"{limits[0]:_} to {limits[1]:_}".replace("_", ",")
    if isinstance(value, bool) != (kind == "bool") or not isinstance(value, wanted):
        raise ConfigError(f"{name}: expected {kind}, {span}, got {value!r}")
    if limits is not None and not limits[0] <= value <= limits[1]:
        raise ConfigError(f"{name}: expected {kind}, {span}, got {value!r}")
