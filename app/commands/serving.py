"""`unirank serve` and `unirank demo`: turn options into settings and start the server; `demo` trains first."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.commands import terminal

if TYPE_CHECKING:
    from model.config import Config

TRY = """
unirank answers at {url}
  a page            {url}/
  search            curl '{url}/v1/search?q=toy+stor&limit=3'
  more like this    curl -X POST {url}/v1/more-like-this/{source} -d '{{"limit": 3}}'
  homepage          curl -X POST {url}/v1/homepage -d '{{"user_id": "{user}"}}'
  documentation     {url}/docs
"""


def serve(model: Path, host: str | None, port: int | None, workers: int | None, demo_if_empty: bool) -> None:
    """Serve a model folder; options override environment variables."""
    from app.http.server import serve as run
    from app.settings import Settings

    options = {"host": host, "port": port, "workers": workers, "model_path": model}
    settings = Settings.model_validate({name: value for name, value in options.items() if value is not None})
    if demo_if_empty:
        settings = settings.model_copy(update={"demo_if_empty": True})
    run(settings)


def demo(out: Path, host: str, port: int, no_serve: bool, fresh: bool) -> None:
    """Make a dataset and a model from the packaged films, and serve the model."""
    model = out / "model"
    if fresh:
        shutil.rmtree(out, ignore_errors=True)
    if not (model / "manifest.json").exists():
        with terminal.resumable("stopped: the same command begins the training again"):
            make_demo_model(out / "dataset", model)
    if no_serve:
        terminal.out.print(f"model in {model}; serve it with: unirank serve {model}")
        return
    url = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}"
    terminal.out.print(
        TRY.format(url=url, source=_example_film(model), user=_example_user(model)), highlight=False, soft_wrap=True
    )
    serve(model, host, port, None, False)


def make_demo_model(dataset: Path, model: Path) -> None:
    """Import the packaged films, unless that is done already, and train on them."""
    from app.commands import learning
    from model.datasets.importers.demo import import_demo

    if not (dataset / "dataset.json").exists():
        with terminal.spinner("films") as say:
            import_demo(dataset, progress=say)
    learning.train_dataset(dataset, model, demo_config())


def demo_config() -> Config:
    """The default configuration with a short training run: under two minutes on two cores."""
    from model.config import Config

    config = Config()
    return replace(
        config,
        training=replace(config.training, steps=250, contexts_per_step=64, evaluations=2, validation_rankings=160),
    )


def _example_film(model: Path) -> str:
    import polars as pl

    rows = pl.read_parquet(model / "entities.parquet", columns=["entity_id", "display_name"], glob=False)
    named = rows.filter(pl.col("display_name") == "Toy Story")["entity_id"].to_list()
    return str((named or rows["entity_id"].to_list())[0])


def _example_user(model: Path) -> str:
    import polars as pl

    counts = pl.read_parquet(model / "histories.parquet", columns=["user_id"], glob=False)["user_id"].value_counts(
        sort=True
    )
    users = counts["user_id"].to_list()
    return str(users[len(users) // 2]) if users else "u1"
