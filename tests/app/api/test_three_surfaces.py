"""A shop that is imported and trained is served on three surfaces, whatever its log has: nothing, one task, or two."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from app_fakes import client_of, settings
from command_line import run_command
from tiny_config import tiny_toml

from app.main import create_app
from model.artefact.model import Artefact

pytestmark = pytest.mark.anyio
README = (Path(__file__).parents[3] / "README.md").read_text("utf-8")
SHOP, LOG = re.findall(r"cat > \w+\.csv <<'END'\n(.*?)END\n", README, re.DOTALL)
MAPS = ["entity_id=sku", "display_name=title"]
LOG_MAPS = ["timestamp=time", "user_id=user", "query=typed", "label=clicked"]
ONLY_SEARCHES = "".join(line for line in LOG.splitlines(keepends=True) if "homepage" not in line)
ALL = {"search", "homepage", "more_like_this"}
LOGS = {  # log → what must be derived
    "none": (None, ALL),
    "empty": ("", ALL),
    "only a header": (LOG.partition("\n")[0], ALL),
    "searches": (ONLY_SEARCHES, ALL - {"search"}),
    "README": (LOG, {"more_like_this"}),
}


@pytest.mark.parametrize("log", LOGS)
async def test_a_small_shop_is_served_on_three_surfaces(
    log: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.csv").write_text(SHOP, "utf-8")
    (tmp_path / "tiny.toml").write_text(tiny_toml(), "utf-8")
    options = ["--entities", tmp_path / "shop.csv"]
    text, derived = LOGS[log]
    if text is not None:
        (tmp_path / "log.csv").write_text(text, "utf-8")
        options += ["--events", tmp_path / "log.csv"]
    maps = [part for pair in [*MAPS, *(LOG_MAPS if text is not None else [])] for part in ("--map", pair)]
    for command in (
        ["data", "import", tmp_path / "data", *options, *maps],
        ["data", "validate", tmp_path / "data"],
        ["train", tmp_path / "data", "--out", tmp_path / "model", "--config", tmp_path / "tiny.toml"],
    ):
        ended = run_command(capsys, monkeypatch, *command)
        assert ended.code == 0, ended.err
    artefact = Artefact.load(tmp_path / "model")
    about = json.loads((tmp_path / "data" / "dataset.json").read_text("utf-8"))
    assert about["derived"].keys() == artefact.dataset["derived"].keys() == derived
    async with client_of(create_app(settings(state_dir=tmp_path / "state"), artefact)) as client:
        similar = await client.post("/v1/more-like-this/a1", json={})
        assert (similar.status_code, {item["id"] for item in similar.json()["items"]}) == (200, {"a2", "a3", "a4"})
        found = await client.get("/v1/search", params={"q": "wool jacket"})
        assert (found.status_code, len(found.json()["items"])) == (200, 4)
        assert "understood" not in found.json()["context"]
        slip = await client.get("/v1/search", params={"q": "wool jakcet"})
        assert slip.json()["context"]["understood"] == {"corrected": {"jakcet": "jacket"}}
        assert [item["id"] for item in slip.json()["items"]] == [item["id"] for item in found.json()["items"]]
        nothing = await client.get("/v1/search", params={"q": "+++"})
        assert (nothing.status_code, nothing.json()["items"]) == (200, [])
        home = await client.post("/v1/homepage", json={"rows": [{"row_id": "all"}]})
        assert (home.status_code, len(home.json()["rows"][0]["items"])) == (200, 4)


def test_without_derived_rows_a_file_of_events_is_needed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.csv").write_text(SHOP, "utf-8")
    (tmp_path / "log.csv").write_text(LOG, "utf-8")
    command = ["data", "import", tmp_path / "data", "--entities", tmp_path / "shop.csv", "--no-derive"]
    maps = [part for pair in MAPS for part in ("--map", pair)]
    refused = run_command(capsys, monkeypatch, *command, *maps)
    assert (refused.code, "expected a file of events" in refused.err) == (2, True)
    maps += [part for pair in LOG_MAPS for part in ("--map", pair)]
    plain = run_command(capsys, monkeypatch, *command, *maps, "--events", tmp_path / "log.csv")
    assert (plain.code, "5 events" in plain.out) == (0, True)
    assert "derived" not in json.loads((tmp_path / "data" / "dataset.json").read_text("utf-8"))


@pytest.mark.parametrize("entities", ["sku,title\na1,Red shoes\n", "sku,title\na1,!!!\na2,???\n"])
def test_a_catalogue_that_teaches_nothing_is_refused_in_one_line(
    entities: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop.csv").write_text(entities, "utf-8")
    maps = [part for pair in MAPS for part in ("--map", pair)]
    command = ["data", "import", tmp_path / "data", "--entities", tmp_path / "shop.csv", *maps]
    code, _, err = run_command(capsys, monkeypatch, *command)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error")]
    assert "the entities give nothing to learn from" in line
    assert not (tmp_path / "data").exists()
