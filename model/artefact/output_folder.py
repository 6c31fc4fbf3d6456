"""Checks before a training whether the model folder can be written. Leaves no files behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from model.artefact.manifest import ArtefactError
from model.artefact.writing import refuse_foreign
from model.datasets.atomic_writes import check_can_be_replaced, remove_unfinished

PROBE_BYTES = 2**20  # free space below this counts as a full disk


def check_writable(out: Path) -> None:
    """Raise `ArtefactError` where no model can be written to `out`, to fail before a training instead of after it.

    Removes unfinished folders beside `out` that a killed process left behind.
    """
    refuse_foreign(out)
    place = out.resolve()
    try:
        check_can_be_replaced(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place.with_name(f".{place.name}.building"), ignore_errors=True)  # left by earlier releases
        remove_unfinished(place)
        _write_probe(place)
    except OSError as error:
        raise ArtefactError(f"{out}: no model can be written there ({error.strerror or error})") from error


def _write_probe(place: Path) -> None:
    beside = tempfile.TemporaryDirectory(prefix=f".{place.name}.building-", dir=place.parent)
    with beside as folder, (Path(folder) / "probe").open("wb") as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())
