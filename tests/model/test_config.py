"""Every setting of a training has a checked range; a wrong value is one line that names setting, value and range."""

from __future__ import annotations

import math
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pytest

from model.config import LIMITS, Config, ConfigError, NetworkConfig, TrainingConfig

SECTIONS = {"network": NetworkConfig(), "training": TrainingConfig()}
NUMBERS = [(section, name) for section, table in LIMITS.items() for name in table]


def read(section: str, name: str, value: object) -> Config:
    return Config.from_json({section: {name: value}})


def test_every_number_has_a_range_and_its_default_is_in_it() -> None:
    for section, default in SECTIONS.items():
        numbers = {entry.name for entry in fields(default) if entry.type != "bool"}
        assert set(LIMITS[section]) == numbers


@pytest.mark.parametrize(("section", "name"), NUMBERS)
def test_what_is_outside_of_a_range_names_setting_value_and_range(section: str, name: str) -> None:
    low, high = LIMITS[section][name]
    whole = isinstance(getattr(SECTIONS[section], name), int)
    step = 1 if whole else 1e-3
    for value in (low - step, high + step, -5, 10**18, "3", None, True, [1], math.nan, math.inf, -math.inf):
        with pytest.raises(ConfigError) as caught:
            read(section, name, value)
        said = str(caught.value)
        assert said.startswith(f"{section}.{name}: expected ")
        assert said.endswith(f"got {value!r}")
        assert f"{low:,} to {high:,}" in said
        assert "\n" not in said
    for value in (low, high):
        assert getattr(getattr(read(section, name, value), section), name) == value


def test_a_setting_is_checked_however_it_is_made() -> None:
    with pytest.raises(ConfigError, match=r"training.folds: expected int, 2 to 100, got 0"):
        replace(TrainingConfig(), folds=0)
    with pytest.raises(ConfigError, match=r"network.task_input: expected bool, true or false, got 1"):
        read("network", "task_input", 1)
    for seed in (True, -1, 2**31, 1.0, "1", None):
        with pytest.raises(ConfigError, match=r"^seed: expected int, 0 to 2,147,483,647, got"):
            Config.from_json({"seed": seed})
    with pytest.raises(ConfigError, match=r"^seed: expected int"):
        replace(Config(), seed=-1)


TOML = {
    "evaluations = 0": "unknown settings",
    "[training]\nevaluations = 0": "training.evaluations: expected int, 1 to 100,000, got 0",
    "[network]\nwidth = 0": "network.width: expected int, 1 to 4,096, got 0",
    "[network]\nwidth = 1.5": "network.width: expected int, 1 to 4,096, got 1.5",
    "[training]\nsteps = -5": "training.steps: expected int, 0 to 10,000,000, got -5",
    "[training]\nlearning_rate = nan": "training.learning_rate: expected float, 1e-09 to 1.0, got nan",
    "[training]\nbce_weight = inf": "training.bce_weight",
    "[training]\nslate = 1979-05-27": "training.slate",
    "seed = true": "seed: expected int, 0 to 2,147,483,647, got True",
    "[serving]\nport = 1": "unknown settings ['serving']: expected network, training, seed",
    "network = 3": "network: expected a table, got 3",
    "[[training]]\nsteps = 1": "training: expected a table",
    "[network.width]\na = 1": "network.width",
    "[network]\nwidht = 8": "network.widht: no such setting; there are width",
    "seed = 1\nseed = 2": "Cannot overwrite a value",
    "\ufeffseed = 1": "Invalid statement",
}


@pytest.mark.parametrize(("text", "says"), TOML.items(), ids=map(repr, TOML))
def test_a_file_that_is_no_configuration_is_one_line_with_its_name(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        Config.from_toml(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_text_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# \xe9\nseed = 1")
    for path in (tmp_path / "latin.toml", tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigError, match=path.name):
            Config.from_toml(path)


def test_the_documented_form_is_read(tmp_path: Path) -> None:
    text = "seed = 4\n[network]\nwidth = 32\ntask_input = false\n[training]\nlearning_rate = 1\n"
    (tmp_path / "c.toml").write_text(text)
    assert Config.from_toml(tmp_path / "c.toml") == Config.from_json(tomllib.loads(text))
