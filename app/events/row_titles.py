"""Log entries that say which title a served homepage row had. Knows no ranking, and neither user nor query.

A title is part of the context that was ranked, and only the request for the ranking has it: the impression that comes
later names the ranking by its id.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from model.context.context import HOMEPAGE

ROW_TITLE_ENTRY = "row_title"  # the `type` of these entries


class RowTitle(msgspec.Struct, tag=ROW_TITLE_ENTRY, tag_field="type", frozen=True):
    """One titled row of a homepage, as it is stored. `timestamp` in ms since 1970 UTC."""

    timestamp: int
    ranking_id: str
    row_title: str
    task: str = HOMEPAGE


def title_entries(titles: Iterable[tuple[str, str | None]], timestamp: int) -> list[bytes]:
    """The entries of served rows, given as (ranking id, title). A missing or blank title has none."""
    return [
        msgspec.json.encode(RowTitle(timestamp, ranking_id, title))
        for ranking_id, title in titles
        if title and not title.isspace()
    ]
