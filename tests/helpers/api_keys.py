"""Files of API keys for the tests of access. Tests nothing."""

from __future__ import annotations

from pathlib import Path

from app.http.auth.keys import new_key, write_keys
from app.http.auth.scopes import Scope


def key_for_each_scope(file: Path) -> dict[Scope, str]:
    """Write a file with one key for each scope; the secrets by scope."""
    made = {scope: new_key(str(scope), [scope]) for scope in Scope}
    write_keys(file, [key for _, key in made.values()])
    return {scope: secret for scope, (secret, _) in made.items()}


def bearer(secret: str) -> dict[str, str]:
    """The header that carries a secret."""
    return {"authorization": f"Bearer {secret}"}
