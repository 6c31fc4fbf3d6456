"""`unirank models …`: lists the models of a folder, checks them, and changes which one serves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import terminal

if TYPE_CHECKING:
    from app.models.registry import ModelRegistry, Version
    from app.models.reports import Answer, Report, Workers

app = typer.Typer(help="Models: which one serves, and how to move between them.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The folder of models that UNIRANK_MODEL_PATH names.")]
Wanted = Annotated[str, typer.Argument(help="A version, or the name of its folder.")]
WaitS = Annotated[float, typer.Option(help="Longest wait, in seconds, for running services to confirm; 0 = none.")]
WAIT_S = 30.0
_NO_WORKERS = "no worker confirmed it: no running service reports on this folder"


@app.command(name="list")
def show(folder: Folder) -> None:
    """All models of a folder, and folders that should be models but cannot be read."""
    from rich.table import Table

    from app.models.registry import ModelRegistry, Version

    registry = ModelRegistry(folder)
    contents = registry.contents()
    if not contents:
        raise ValueError(f"no models: {folder} holds no model folder")
    roles = _roles(registry)
    table = Table("model", "version", "dataset", "tasks", "")
    for entry in contents:
        notes = [role for path, role in roles if path == entry.folder]
        if isinstance(entry, Version):
            notes += [entry.incomplete] if entry.incomplete else []
            table.add_row(entry.name, entry.version, entry.dataset, ", ".join(entry.tasks), (", ".join(notes)))
        else:
            table.add_row(entry.name, "", "", "", (", ".join([*notes, f"unreadable: {entry.reason}"])))
    terminal.out.print(table)


@app.command()
def check(model: Annotated[Path, typer.Argument(help="A model folder.")], timeout_ms: int = 2_000) -> None:
    """Whether a model may serve: files, weights, golden requests, spread of scores, time."""
    artefact = _check_model(model, timeout_ms)
    terminal.out.print(f"{artefact} may serve", highlight=False)


@app.command()
def index(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    seed: Annotated[int, typer.Option(help="What k-means and the queries begin with.")] = 0,
) -> None:
    """Build an index of a large catalogue; keep it where it finds nearly the same several times as fast."""
    from model.artefact.index import index

    with terminal.bar("index") as report:
        manifest, result = index(model, seed, report)
    kept = "approximate" if result.good else "exact"
    measured = f"recall@100 {result.recall:.3f}, {result.times:.1f} times as fast as exact search"
    terminal.out.print(f"{manifest.version}: {kept} search ({measured})", highlight=False)


@app.command()
def publish(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    redis_url: Annotated[str, typer.Option(help="Where to. [default: UNIRANK_REDIS_URL]")] = "",
) -> None:
    """Write all records of a model into Redis, before it is made live."""
    import asyncio

    from app.entities.publish import publish
    from app.entities.redis_url import SETTING, check
    from app.settings import Settings
    from model.artefact.reading import read

    settings = Settings()
    url = redis_url or settings.redis_url
    if not url:
        raise ValueError("no Redis: set UNIRANK_REDIS_URL or give --redis-url")
    check(url, "--redis-url" if redis_url else SETTING)
    contents = read(model)
    with terminal.bar("publish") as report:
        result = asyncio.run(publish(contents, url, settings.redis_ttl_s, report))
    size = result.value_bytes / max(result.records, 1)
    terminal.out.print(
        f"{contents.manifest.version}: {result.records:,} records, {size:,.0f} bytes each on average, "
        f"{result.per_s:,.0f} a second",
        highlight=False,
    )


@app.command()
def activate(folder: Folder, version: Wanted, timeout_ms: int = 2_000, wait_s: WaitS = WAIT_S) -> None:
    """Check a model, make it live, and wait until the running services have taken it."""
    from app.models.registry import ModelRegistry

    registry = ModelRegistry(folder)
    model = registry.find(version)
    _check_model(model.folder, timeout_ms)
    workers = _find_workers(registry)
    registry.activate(model.name)
    _confirm(workers, model, "is live", "named in LIVE", lambda report: report.live == model.version, wait_s)


@app.command()
def rollback(folder: Folder, timeout_ms: int = 2_000, wait_s: WaitS = WAIT_S) -> None:
    """Go back to the model that was live before."""
    from app.models.registry import ModelRegistry

    registry = ModelRegistry(folder)
    model = registry.previous()
    _check_model(model.folder, timeout_ms)
    workers = _find_workers(registry)
    registry.activate(model.name)
    _confirm(workers, model, "is live again", "named in LIVE", lambda report: report.live == model.version, wait_s)


@app.command()
def split(
    folder: Folder,
    version: Wanted,
    share: Annotated[float, typer.Option(help="Share of the users, above 0 and below 1.")],
    timeout_ms: int = 2_000,
    wait_s: WaitS = WAIT_S,
) -> None:
    """Check a model and let it answer a share of the users, always the same ones; the others get the live one."""
    from app.models.registry import ModelRegistry

    registry = ModelRegistry(folder)
    model = registry.find(version)
    _check_model(model.folder, timeout_ms)
    workers, expected = _find_workers(registry), (model.version, share)
    registry.split_users(model.name, share)
    _confirm(
        workers,
        model,
        f"takes {share:g} of the users",
        "named in SPLIT",
        lambda report: report.split == expected,
        wait_s,
    )


@app.command()
def unsplit(folder: Folder, wait_s: WaitS = WAIT_S) -> None:
    """End the split: all users get the live model."""
    from app.models.registry import ModelRegistry

    registry = ModelRegistry(folder)
    workers = _find_workers(registry)
    registry.unsplit()
    _confirm(
        workers, None, "all users get the live model", "SPLIT is gone", lambda report: report.split is None, wait_s
    )


@app.command()
def shadow(
    folder: Folder,
    version: Wanted,
    off: Annotated[bool, typer.Option("--off", help="Stop using it as the shadow model.")] = False,
    wait_s: WaitS = WAIT_S,
) -> None:
    """Let a model rank beside the live one, unseen; the metrics of the service compare them."""
    from app.models.registry import ModelRegistry

    registry = ModelRegistry(folder)
    workers = _find_workers(registry)
    if off:
        model = registry.clear_shadow(version)
        _confirm(
            workers,
            model,
            "is no longer the shadow",
            "not named in SHADOW",
            lambda report: report.shadow != model.version,
            wait_s,
        )
    else:
        model = registry.set_shadow(version)
        _confirm(
            workers, model, "is the shadow", "named in SHADOW", lambda report: report.shadow == model.version, wait_s
        )


def _roles(registry: ModelRegistry) -> list[tuple[Path, str]]:
    """Folders with their roles. A missing or invalid `LIVE` only prints a message, so that the list is still shown."""
    roles = []
    try:
        roles.append((registry.live(), "live"))
    except ValueError as error:
        terminal.err.print(f"nothing is live: {error}", highlight=False)
    if (shadow := registry.shadow()) is not None:
        roles.append((shadow, "shadow"))
    if (split := registry.split()) is not None:
        roles.append((split[0], f"{split[1]:g} of the users"))
    return roles


def _check_model(model: Path, timeout_ms: int) -> str:
    from app.models.loading import load_model

    with terminal.spinner(f"checking {model}"):
        return load_model(model, "cpu", timeout_ms / 1000).version


def _find_workers(registry: ModelRegistry) -> Workers:
    from app.models.reports import Workers
    from app.settings import Settings

    return Workers(registry.path, Settings().state_dir.expanduser())


def _confirm(
    workers: Workers, version: Version | None, what: str, written: str, serves: Callable[[Report], bool], wait_s: float
) -> None:
    """Print `what` if the running services confirm it, else what is `written`. Exits with 1 if one of them does not
    serve it."""
    from app.models.stamps import stamp_of

    name, token, subject = (
        ("", "", "") if version is None else (version.name, stamp_of(version.folder).token, version.version)
    )
    with terminal.spinner("waiting for the service"):
        answer = workers.wait(serves, name, token, wait_s)
    if answer.refused or answer.undecided:
        _print_line(f"{subject} {written}, but {_describe_unconfirmed(answer, wait_s)}")
        raise typer.Exit(1)
    _print_line(
        f"{subject} {what} ({_count_workers(answer.confirmed)} confirmed)"
        if answer.confirmed
        else f"{subject} {written}; {_NO_WORKERS}"
    )


def _describe_unconfirmed(answer: Answer, wait_s: float) -> str:
    parts = [f"{_count_workers(1)} refused it: {reason}" for reason in answer.refused]
    if answer.undecided:
        parts.append(f"{_count_workers(answer.undecided)} did not confirm it within {wait_s:g} s")
    return "; ".join([*parts, f"{_count_workers(answer.confirmed)} confirmed it"])


def _count_workers(workers: int) -> str:
    return f"{workers} worker" if workers == 1 else f"{workers} workers"


def _print_line(line: str) -> None:
    terminal.out.print(line.strip(), soft_wrap=True)
