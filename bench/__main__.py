"""`python -m bench …` is `unirank bench …`, from a source checkout."""

from __future__ import annotations

from app.commands.bench import app
from app.commands.terminal import run

if __name__ == "__main__":
    run(app)
