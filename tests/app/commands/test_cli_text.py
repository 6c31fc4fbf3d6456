"""The command line prints data as it is: brackets, colons and braces are not read as markup, in help texts neither."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from processor import slowness
from tiny_config import tiny_toml

from app.cli import app, main
from app.commands import learning, study_tables, terminal

ROOT = Path(__file__).parents[3]
NAMES = ["[bold]x[/]", "[/]", "a[0]", "[x]", ":smile:", "{task}", "[link=http://a]b[/link]", "\\[b]"]
TINY = tiny_toml(steps=2)
Unirank = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is cut off."""
    monkeypatch.setattr(terminal.out, "_width", 400)
    monkeypatch.setattr(terminal.err, "_width", 400)


@pytest.fixture
def unirank(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Unirank:
    """Exit code, standard output and standard error of a command in this process."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["unirank", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        return (int(end.value.code or 0), *capsys.readouterr())

    return call


# ---- brackets -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def odd(world_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `[x]` with the world's dataset in `a[0]`, its names and columns full of brackets."""
    folder = tmp_path_factory.mktemp("odd") / "[x]" / "a[0]"
    shutil.copytree(world_path, folder)
    about = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(about | {"name": "[bold]x[/]", "licence": "[/]"}))
    lines = [json.loads(line) for line in (folder / "entities.jsonl").read_text().splitlines()]
    for number, entity in enumerate(lines):
        entity["display_name"] = NAMES[number % len(NAMES)] + f" {number}"
    rows = "".join(json.dumps(entity) + "\n" for entity in lines)
    (folder / "entities.jsonl").write_text(rows + '{"entity_id": "[/]", "display_name": ["[/]"]}\n')
    return folder


def test_every_command_that_prints_data_prints_it_as_it_is(unirank: Unirank, odd: Path) -> None:
    model, config, models = odd.parent / "[bold]m[/]" / "[/]", odd.parent / "[c].toml", odd.parent / "[bold]m[/]"
    config.write_text(TINY)
    code, out, err = unirank("data", "describe", odd)
    assert (code, "[bold]x[/]" in out) == (0, True), err
    code, out, err = unirank("data", "validate", odd)
    assert (code, "[/]" in out) == (0, True), err
    code, out, err = unirank("train", odd, "--out", model, "--config", config)
    assert (code, out.startswith("model [bold]x[/]-"), out.endswith(f" in {model}\n")) == (0, True, True), err
    code, out, err = unirank("evaluate", model, odd)
    assert (code, "ndcg@10" in out) == (0, True), err
    code, out, err = unirank("models", "list", models)
    assert (code, "[bold]x[/]-" in out, "[/] " in out) == (0, True, True), err
    code, out, err = unirank("models", "check", model)
    assert (code, out.startswith("[bold]x[/]-")) == (0, True), err


@pytest.mark.parametrize("name", ["[bold]x[/]", "[/]", ":smile:"])
def test_errors_show_what_was_given(unirank: Unirank, world_path: Path, tmp_path: Path, name: str) -> None:
    absent, config = tmp_path / name.replace("/", ""), tmp_path / "c.toml"
    for arguments in (
        ("train", absent, "--out", tmp_path / "m"),
        ("evaluate", absent, world_path),
        ("data", "validate", absent),
        ("models", "list", absent),
    ):
        code, _, err = unirank(*arguments)
        assert code == 2
        assert str(absent) in err
    for arguments in (
        ("train", world_path, "--out", tmp_path / "m", "--parts", name),
        ("train", world_path, "--out", tmp_path / "m", "--tasks", name),
        ("train", world_path, "--out", tmp_path / "m", "--seed", name),
        ("study", "specialists", world_path, "--only", name, "--out", tmp_path / "s"),
        ("data", "simulate", tmp_path / "w", f"--{name}"),
        ("models", "activate", tmp_path, name),
        (name,),
    ):
        code, _, err = unirank(*arguments)
        assert (code, name in err) == (2, True), err
    config.write_text(f"[training]\n{json.dumps(name)} = 1\n")
    assert name in unirank("train", world_path, "--out", tmp_path / "m", "--config", config)[2]


@pytest.mark.parametrize("name", NAMES)
def test_tables_bars_and_spinners_show_names_as_they_are(capsys: pytest.CaptureFixture[str], name: str) -> None:
    learning.show_task(name, {"rankings": 3, name: {"value": 0.5, "low": 0.4, "high": 0.6}})
    row = {"protocol": name, "slice": "all", "metric": name, "low": 0.1, "high": 0.2, "value": 0.1, "seeds": 1}
    gap = row | {"rival": name, "main": True, "relative": 0.1, "p_holm": 0.5}
    study_tables.show_study({"table": [row | {"model": name}], "differences": [gap, gap | {"main": False}]})
    out = capsys.readouterr().out
    assert out.count(name) == 2 + 3 + 3 + 3
    with terminal.spinner(name) as say:
        say(name)
    with terminal.bar(name) as report:
        report(1, 2, f"validation {name}")
    terminal.problem(name)
    terminal.warning(name)
    err = capsys.readouterr().err
    assert f"validation {name}" in err
    assert f"error {name}" in err
    assert f"warning {name}" in err


# ---- help ---------------------------------------------------------------------------------------------------


def commands(group: typer.main.TyperGroup, above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every group and command, by its words."""
    found = [above]
    for name, command in getattr(group, "commands", {}).items():
        found += commands(command, (*above, name))
    return found


EVERY = commands(typer.main.get_command(app))
GROUPS = [words for words in EVERY if not words or words[0] in ("data", "study", "events", "keys", "models", "bench")]
GROUPS = [words for words in GROUPS if len(words) < 2]


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_keeps_brackets_and_defaults(unirank: Unirank, words: tuple[str, ...]) -> None:
    code, out, err = unirank(*words, "--help")
    assert (code, err) == (0, "")
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    shown = " ".join(out.split())
    for option in command.params:
        told = " ".join((getattr(option, "help", "") or "").split())
        assert told in shown


def test_help_shows_the_defaults_that_it_had_lost(unirank: Unirank) -> None:
    assert "[network] and [training]" in unirank("train", "--help")[1]
    assert "[default: train]" in unirank("train", "--help")[1]
    assert "[default: 8000]" in unirank("serve", "--help")[1]
    assert "[default: 400]" in unirank("data", "simulate", "--help")[1]
    assert "[default: UNIRANK_REDIS_URL]" in unirank("models", "publish", "--help")[1]


@pytest.mark.parametrize("words", GROUPS, ids=" ".join)
def test_a_group_alone_shows_its_help(unirank: Unirank, words: tuple[str, ...]) -> None:
    code, out, err = unirank(*words)
    assert (code, err) == (0, "")
    assert out == unirank(*words, "--help")[1]


def test_the_version_is_printed(unirank: Unirank) -> None:
    code, out, err = unirank("--version")
    assert (code, err) == (0, "")
    assert out.split()[0] == "unirank"
    assert out.split()[1][0].isdigit()


def test_help_takes_less_than_half_a_second_of_a_core() -> None:
    """Processor time of a process of its own, so that others on the machine do not count; the best of three. Others
    still slow down a shared processor, which `slowness` measures at the same moment.
    """
    taken = [_cpu_seconds("-m", "app.cli", "models", "publish", "--help") for _ in range(3)]
    assert min(taken) < 0.5 * slowness()


def _cpu_seconds(*arguments: str) -> float:
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        actions = [(os.POSIX_SPAWN_DUP2, null, 1)]
        pid = os.posix_spawn(sys.executable, [sys.executable, *arguments], environment, file_actions=actions)
        _, status, used = os.wait4(pid, 0)
    finally:
        os.close(null)
    assert status == 0
    return used.ru_utime + used.ru_stime
