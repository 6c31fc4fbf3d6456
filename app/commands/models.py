"""`unirank models …`: which models a folder holds, which one serves, and how to move between them."""

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
_NOBODY = "nobody confirmed it: no running service reports on this folder"


@app.command(name="list")
def show(folder: Folder) -> None:
    """All models of a folder, and what should be one and cannot be read."""
    from rich.table import Table

    from app.models.registry import ModelRegistry, Version

    registry = ModelRegistry(folder)
    contents = registry.contents()
    if not contents:
        raise ValueError(f"no models: {folder} holds no model folder")
    roles = _roles(registry)
    table = Table("model", "version", "dataset", "tasks", "")
    for entry in contents:
        said = [what for one, what in roles if one == entry.folder]
        if isinstance(entry, Version):
            said += [entry.incomplete] if entry.incomplete else []
            table.add_row(entry.name, entry.version, entry.dataset, ", ".join(entry.tasks), (", ".join(said)))
        else:
            table.add_row(entry.name, "", "", "", (", ".join([*said, f"unreadable: {entry.reason}"])))
    terminal.out.print(table)


@app.command()
def check(model: Annotated[Path, typer.Argument(help="A model folder.")], timeout_ms: int = 2_000) -> None:
    """Whether a model may serve: files, weights, golden requests, spread of scores, time."""
    artefact = _checked(model, timeout_ms)
    terminal.out.print(f"{artefact} may serve", highlight=False)


@app.command()
def index(
    model: Annotated[Path, typer.Argument(help="A model folder.")],
    seed: Annotated[int, typer.Option(help="What k-means and the queries begin with.")] = 0,
) -> None:
    """Build an index of a large catalogue; keep it where it finds nearly the same several times as fast."""
    from model.artefact.index import index

    with terminal.bar("index") as report:
        manifest, found = index(model, seed, report)
    kept = "approximate" if found.good else "exact"
    measured = f"recall@100 {found.recall:.3f}, {found.times:.1f} times as fast as exact search"
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
        done = asyncio.run(publish(contents, url, settings.redis_ttl_s, report))
    size = done.value_bytes / max(done.records, 1)
    terminal.out.print(
        f"{contents.manifest.version}: {done.records:,} records, {size:,.0f} bytes each on average, "
        f"{done.per_s:,.0f} a second",
        highlight=False,
    )


@app.command()
def activate(folder: Folder, version: Wanted, timeout_ms: int = 2_000, wait_s: WaitS = WAIT_S) -> None:
    """Check a model, make it live, and wait until the running services have taken it."""
    from app.models.registry import ModelRegistry

    registry = ModelRegistry(folder)
    found = registry.find(version)
    _checked(found.folder, timeout_ms)
    workers = _workers(registry)
    registry.activate(found.name)
    _confirm(workers, found, "is live", "named in LIVE", lambda report: report.live == found.version, wait_s)


@app.command()
def rollback(folder: Folder, timeout_ms: int = 2_000, wait_s: WaitS = WAIT_S) -> None:
    """Go back to the model that was live before."""
    from app.models.registry import ModelRegistry

    registry = ModelRegistry(folder)
    found = registry.previous()
    _checked(found.folder, timeout_ms)
    workers = _workers(registry)
    registry.activate(found.name)
    _confirm(workers, found, "is live again", "named in LIVE", lambda report: report.live == found.version, wait_s)


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
    found = registry.find(version)
    _checked(found.folder, timeout_ms)
    workers, wanted = _workers(registry), (found.version, share)
    registry.split_users(found.name, share)
    _confirm(
        workers, found, f"takes {share:g} of the users", "named in SPLIT", lambda report: report.split == wanted, wait_s
    )


@app.command()
def unsplit(folder: Folder, wait_s: WaitS = WAIT_S) -> None:
    """Everybody gets the live model again."""
    from app.models.registry import ModelRegistry

    registry = ModelRegistry(folder)
    workers = _workers(registry)
    registry.unsplit()
    _confirm(
        workers, None, "everybody gets the live model", "SPLIT is gone", lambda report: report.split is None, wait_s
    )


@app.command()
def shadow(
    folder: Folder,
    version: Wanted,
    off: Annotated[bool, typer.Option("--off", help="It is the shadow no more.")] = False,
    wait_s: WaitS = WAIT_S,
) -> None:
    """Let a model rank beside the live one, unseen; the metrics of the service compare them."""
    from app.models.registry import ModelRegistry

    registry = ModelRegistry(folder)
    workers = _workers(registry)
    if off:
        found = registry.clear_shadow(version)
        _confirm(
            workers,
            found,
            "is the shadow no more",
            "not named in SHADOW",
            lambda report: report.shadow != found.version,
            wait_s,
        )
    else:
        found = registry.set_shadow(version)
        _confirm(
            workers, found, "is the shadow", "named in SHADOW", lambda report: report.shadow == found.version, wait_s
        )


def _roles(registry: ModelRegistry) -> list[tuple[Path, str]]:
    """Folder → what it does; a `LIVE` that is missing or names nothing is said and no reason to show nothing."""
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


def _checked(model: Path, timeout_ms: int) -> str:
    from app.models.loading import load_model

    with terminal.spinner(f"checking {model}"):
        return load_model(model, "cpu", timeout_ms / 1000).version


def _workers(registry: ModelRegistry) -> Workers:
    from app.models.reports import Workers
    from app.settings import Settings

    return Workers(registry.path, Settings().state_dir.expanduser())


def _confirm(
    workers: Workers, found: Version | None, what: str, written: str, serves: Callable[[Report], bool], wait_s: float
) -> None:
    """Say `what` where the running services confirm it; else what is `written`. Exits with 1 where one of them does
    not serve it."""
    from app.models.stamps import stamp_of

    name, token, who = ("", "", "") if found is None else (found.name, stamp_of(found.folder).token, found.version)
    with terminal.spinner("waiting for the service"):
        answer = workers.wait(serves, name, token, wait_s)
    if answer.refused or answer.undecided:
        _say(f"{who} {written}, but {_others(answer, wait_s)}")
        raise typer.Exit(1)
    _say(f"{who} {what} ({_count(answer.confirmed)} confirmed)" if answer.confirmed else f"{who} {written}; {_NOBODY}")


def _others(answer: Answer, wait_s: float) -> str:
    said = [f"{_count(1)} refused it: {reason}" for reason in answer.refused]
    if answer.undecided:
        said.append(f"{_count(answer.undecided)} did not confirm it within {wait_s:g} s")
    return "; ".join([*said, f"{_count(answer.confirmed)} confirmed it"])


def _count(workers: int) -> str:
    return f"{workers} worker" if workers == 1 else f"{workers} workers"


def _say(line: str) -> None:
    terminal.out.print(line.strip(), soft_wrap=True)
