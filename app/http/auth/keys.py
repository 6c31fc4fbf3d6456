"""API keys: a TOML file that holds a hash of each, never the key itself. Reads and writes that file, checks nothing.

A key is 256 random bits, so one SHA-256 is as good as a slow hash: there is no dictionary to try.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tomllib
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.http.auth.scopes import Scope

PREFIX = "unirank_"


class KeysFileError(ValueError):
    """The file of keys cannot be read, or does not hold keys."""


class Key(BaseModel):
    """One caller. `rate_per_s` None = as many requests as it likes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Scope] = Field(min_length=1)
    rate_per_s: float | None = Field(default=None, gt=0, le=1_000_000, allow_inf_nan=False)
    burst: int = Field(default=1, ge=1, le=1_000_000)


_KEYS = TypeAdapter(list[Key])


def hashed(secret: str) -> str:
    """What the file holds of a key."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_key(
    name: str, scopes: Sequence[Scope], rate_per_s: float | None = None, burst: int | None = None
) -> tuple[str, Key]:
    """A fresh secret and its entry; a burst is one second of the rate unless told. Raises `KeysFileError`."""
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        key = Key(
            name=name, sha256=hashed(secret), scopes=frozenset(scopes), rate_per_s=rate_per_s,
            burst=burst or max(1, round(rate_per_s or 1)),
        )  # fmt: skip
    except ValidationError as error:
        raise KeysFileError(_first(error)) from error
    return secret, key


def read_keys(path: Path) -> list[Key]:
    """The keys of a file. Raises `KeysFileError`; a file that is not there is one, too."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise KeysFileError(f"{path}: {error}") from error
    if unknown := set(table) - {"key"}:
        raise KeysFileError(f"{path}: unknown {', '.join(sorted(unknown))}; expected tables [[key]]")
    try:
        keys = _KEYS.validate_python(table.get("key", []))
    except ValidationError as error:
        raise KeysFileError(f"{path}: {_first(error)}") from error
    if twice := _twice([key.name for key in keys]):
        raise KeysFileError(f"{path}: two keys named {twice}")
    return keys


def write_keys(path: Path, keys: Sequence[Key]) -> None:
    """Replace the file as a whole; only its owner may read it."""
    new = path.with_name(f"{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write("\n".join(_table(key) for key in keys))
        stream.flush()
        os.fsync(stream.fileno())
    new.replace(path)


def _table(key: Key) -> str:
    """One [[key]] table; strings and lists of JSON are TOML, too."""
    values = key.model_dump(mode="json", exclude_none=True) | {"scopes": sorted(key.scopes)}
    return "[[key]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _first(error: ValidationError) -> str:
    """The first fault on one line; never the value, which may be a key that was pasted in the wrong place."""
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"


def _twice(names: Sequence[str]) -> str | None:
    return next((name for place, name in enumerate(names) if name in names[:place]), None)
