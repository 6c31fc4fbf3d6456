"""`unirank models …`: which models a folder holds, which one serves, and how to move between them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import terminal

if TYPE_CHECKING:
    from app.models.shelf import Shelf, Version

app = typer.Typer(help="Models: which one serves, and how to move between them.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="The folder of models that UNIRANK_MODEL_PATH names.")]
Wanted = Annotated[str, typer.Argument(help="A version, or the name of its folder.")]


@app.command(name="list")
def show(folder: Folder) -> None:
    """All models of a folder."""
    from rich.table import Table

    from app.models.shelf import Shelf

    shelf = Shelf(folder)
    versions = shelf.versions()
    if not versions:
        raise ValueError(f"no models: {folder} holds no model folder")
    roles = _roles(shelf)
    table = Table("model", "version", "dataset", "tasks", "")
    for version in versions:
        role = ", ".join(what for one, what in roles if one == version.folder)
        table.add_row(version.name, version.version, version.dataset, ", ".join(version.tasks), role)
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
    from model.artefact_index import index

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

    from app.entity_store.publish import publish
    from app.entity_store.redis_url import SETTING, check
    from app.settings import Settings
    from model.artefact_files import read

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
def activate(folder: Folder, version: Wanted, timeout_ms: int = 2_000) -> None:
    """Check a model and make it live; running services take it within a second."""
    from app.models.shelf import Shelf

    shelf = Shelf(folder)
    _checked(shelf.find(version).folder, timeout_ms)
    _say(shelf.activate(version), "is live")


@app.command()
def rollback(folder: Folder) -> None:
    """Go back to the model that was live before."""
    from app.models.shelf import Shelf

    shelf = Shelf(folder)
    _say(shelf.activate(shelf.previous().version), "is live again")


@app.command()
def split(
    folder: Folder,
    version: Wanted,
    share: Annotated[float, typer.Option(help="Share of the users, above 0 and below 1.")],
    timeout_ms: int = 2_000,
) -> None:
    """Check a model and let it answer a share of the users, always the same ones; the others get the live one."""
    from app.models.shelf import Shelf

    shelf = Shelf(folder)
    _checked(shelf.find(version).folder, timeout_ms)
    _say(shelf.split_users(version, share), f"takes {share:g} of the users")


@app.command()
def unsplit(folder: Folder) -> None:
    """Everybody gets the live model again."""
    from app.models.shelf import Shelf

    Shelf(folder).unsplit()
    terminal.out.print("everybody gets the live model", highlight=False)


@app.command()
def shadow(
    folder: Folder,
    version: Wanted,
    off: Annotated[bool, typer.Option("--off", help="It is the shadow no more.")] = False,
) -> None:
    """Let a model rank beside the live one, unseen; the metrics of the service compare them."""
    from app.models.shelf import Shelf

    shelf = Shelf(folder)
    if off:
        _say(shelf.lift_shadow(version), "is the shadow no more")
    else:
        _say(shelf.cast_shadow(version), "is the shadow")


def _roles(shelf: Shelf) -> list[tuple[Path, str]]:
    """Folder → what it does; a `LIVE` that is missing or names nothing is said and no reason to show nothing."""
    roles = []
    try:
        roles.append((shelf.live(), "live"))
    except ValueError as error:
        terminal.err.print(f"nothing is live: {error}", highlight=False)
    if (shadow := shelf.shadow()) is not None:
        roles.append((shadow, "shadow"))
    if (split := shelf.split()) is not None:
        roles.append((split[0], f"{split[1]:g} of the users"))
    return roles


def _checked(model: Path, timeout_ms: int) -> str:
    from app.models.loading import load_model

    with terminal.spinner(f"checking {model}"):
        return load_model(model, "cpu", timeout_ms / 1000).version


def _say(version: Version, what: str) -> None:
    terminal.out.print(f"{version.version} {what}", highlight=False)
