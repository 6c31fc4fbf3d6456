"""API keys in a TOML file, which holds their hashes, never the keys. Reads and writes that file, checks no request.

A key is 256 random bits, so one SHA-256 is as good as a slow hash: dictionary attacks are not possible.
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
    """The keys file cannot be read, or its content is not valid."""


class Key(BaseModel):
    """The entry of one caller. `rate_per_s` None = no limit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    scopes: frozenset[Scope] = Field(min_length=1)
    rate_per_s: float | None = Field(default=None, gt=0, le=1_000_000, allow_inf_nan=False)
    burst: int = Field(default=1, ge=1, le=1_000_000)


_KEY_LIST = TypeAdapter(list[Key])


def hashed(secret: str) -> str:
    """The SHA-256 of a key in hexadecimal, as the file holds it."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def new_key(
    name: str, scopes: Sequence[Scope], rate_per_s: float | None = None, burst: int | None = None
) -> tuple[str, Key]:
    """A new secret and its entry; `burst` defaults to the rate of one second. Raises `KeysFileError`."""
    secret = PREFIX + secrets.token_urlsafe(32)
    try:
        key = Key(
            name=name, sha256=hashed(secret), scopes=frozenset(scopes), rate_per_s=rate_per_s,
            burst=burst or max(1, round(rate_per_s or 1)),
        )  # fmt: skip
    except ValidationError as error:
        raise KeysFileError(_first_error(error)) from error
    return secret, key


def read_keys(path: Path) -> list[Key]:
    """The keys of a file. Raises `KeysFileError`, also for a missing file."""
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise KeysFileError(f"{path}: {error}") from error
    if unknown := set(table) - {"key"}:
        raise KeysFileError(f"{path}: unknown {', '.join(sorted(unknown))}; expected tables [[key]]")
    try:
        keys = _KEY_LIST.validate_python(table.get("key", []))
    except ValidationError as error:
        raise KeysFileError(f"{path}: {_first_error(error)}") from error
    if duplicate := _first_duplicate([key.name for key in keys]):
        raise KeysFileError(f"{path}: two keys named {duplicate}")
    return keys


def write_keys(path: Path, keys: Sequence[Key]) -> None:
    """Replace the file atomically; only its owner may read it."""
    temporary = path.with_name(f"{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as stream:
        stream.write("\n".join(_toml_table(key) for key in keys))
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


def _toml_table(key: Key) -> str:
    """One [[key]] table; JSON strings and lists are also valid TOML."""
    values = key.model_dump(mode="json", exclude_none=True) | {"scopes": sorted(key.scopes)}
    return "[[key]]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _first_error(error: ValidationError) -> str:
    """The first error on one line, without the value: it may be a key that was pasted into the wrong field."""
    fault = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"


def _first_duplicate(names: Sequence[str]) -> str | None:
    return next((name for index, name in enumerate(names) if name in names[:index]), None)
