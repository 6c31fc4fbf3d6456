"""`unirank keys …`: manages API keys. A secret is shown once, when its key is created, and stored nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.commands import terminal
from app.http.auth.scopes import Scope

if TYPE_CHECKING:
    from app.http.auth.keys import Key

app = typer.Typer(help="API keys: who may call the service, and how often.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The file that UNIRANK_API_KEYS_FILE names.")]
Name = Annotated[str, typer.Argument(help="Who calls, say search-bar: letters, digits, dot, dash, underscore.")]


@app.command()
def add(
    file: File,
    name: Name,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do, given once or more. [default: rank]")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second, for each worker. [default: no limit]")] = None,
    burst: Annotated[int | None, typer.Option(help="Requests at once. [default: one second of the rate]")] = None,
) -> None:
    """Make a key and print its secret, this once. A running service takes it within a second."""
    from app.http.auth.keys import new_key, read_keys, write_keys

    keys = read_keys(file) if file.exists() else []
    if any(key.name == name for key in keys):
        raise ValueError(f"{file}: there is a key named {name} already; remove it first, or choose another name")
    secret, key = new_key(name, scope or [Scope.RANK], rate, burst)
    write_keys(file, [*keys, key])
    terminal.out.print(f"{name} may {_scope_names(key)}. Its secret, which cannot be shown again:", highlight=False)
    typer.echo(secret)


@app.command(name="list")
def show(file: File) -> None:
    """Names, scopes and rates; secrets are not known."""
    from rich.table import Table

    from app.http.auth.keys import read_keys

    table = Table("name", "may", "requests a second", "at once")
    for key in read_keys(file):
        rate = ("no limit", "") if key.rate_per_s is None else (f"{key.rate_per_s:g}", str(key.burst))
        table.add_row(key.name, _scope_names(key), *rate)
    terminal.out.print(table)


@app.command()
def remove(file: File, name: Name) -> None:
    """Take a key away. A running service refuses it within a second."""
    from app.http.auth.keys import read_keys, write_keys

    keys = read_keys(file)
    kept = [key for key in keys if key.name != name]
    if len(kept) == len(keys):
        raise ValueError(f"{file}: no key named {name}; there are {', '.join(key.name for key in keys) or 'none'}")
    write_keys(file, kept)
    terminal.out.print(f"{name} is no longer accepted", highlight=False)


def _scope_names(key: Key) -> str:
    return ", ".join(scope for scope in Scope if scope in key.scopes)
