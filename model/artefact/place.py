"""Whether a model folder could be written to a place, found out before a training. Writes nothing that stays."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from model.artefact.manifest import ArtefactError
from model.artefact.writing import refuse_foreign
from model.datasets.whole_folder import check_can_be_replaced, remove_unfinished

PROBE_BYTES = 2**20  # a disk without this much is full


def try_out(out: Path) -> None:
    """Raise `ArtefactError` where no model could be written to `out`: better before a training than after it.

    Removes what a killed writing left beside `out`.
    """
    refuse_foreign(out)
    place = out.resolve()
    try:
        check_can_be_replaced(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place.with_name(f".{place.name}.building"), ignore_errors=True)  # of earlier releases
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
