"""Parts: which rankings are for training, validation and test. Decided by hash and time, so it is reproducible.

A part belongs to a whole ranking (a slate is never split). Each ranking gets the *latest* of the parts that apply, in
the order train < validation < test:
1. user and timestamp known: per user, in order of time, the last 10 % of the rankings are test, the 10 %
   before are validation. All rankings of a user with fewer than 10 are training.
2. a query: by hash of its normalised text, 10 % test, 8 % validation.
3. neither, but a source entity: by hash of the source, 10 % test, 10 % validation; else of the ranking id.
4. with `unseen_share` > 0: that share of entities, by hash, is *unseen* by search. A search in which one of
   them is relevant is test. If such a search has no user, every other ranking with the text of its query becomes
   test, too. The same share again is unseen by training only: their searches are at least validation, so that
   model choice and calibration use rows like those of test. The searches that such an entity moves to their part
   have the slice `unseen_film`, unless another relevant entity of theirs is relevant to a search of training.
A text is in two parts only if a user typed it again later (1 says test, 2 says training), or searched for an
unseen entity with it. Only rule 4 reads labels.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from model.context.context import SEARCH
from model.events.table import PARTS, conform
from model.text.normalise import normalise, stable_hash

TRAIN, VALIDATION, TEST = PARTS
UNSEEN_SLICE = "unseen_film"
UNSEEN_SHARE = 0.05
TEXT_SHARES = (0.10, 0.08)
SOURCE_SHARES = (0.10, 0.10)
SHORTEST_HISTORY = 10

_RANK = {TRAIN: 0, VALIDATION: 1, TEST: 2}


def fraction(salt: str, text: str) -> float:
    """A hash of text and salt in [0, 1). Salts are independent, because the finaliser of MurmurHash3 mixes all bits."""
    mixed = stable_hash(text) ^ (stable_hash(salt) * 0x9E3779B1 & 0xFFFFFFFF)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        mixed = ((mixed ^ mixed >> shift) * factor) & 0xFFFFFFFF
    return (mixed ^ mixed >> 16) / 2**32


def part_by_hash(salt: str, text: str, test: float, validation: float) -> str:
    """The part of a text by hash: the share `test` is test, the share `validation` validation, the rest training."""
    number = fraction(salt, text)
    if number < test:
        return TEST
    return VALIDATION if number < test + validation else TRAIN


def text_part(query: str) -> str:
    """The part of a query by its normalised text."""
    return part_by_hash("query", normalise(query), *TEXT_SHARES)


def source_part(entity_id: str) -> str:
    """The part of a ranking without user and query, by its source entity."""
    return part_by_hash("source", entity_id, *SOURCE_SHARES)


def unseen_part(entity_id: str, share: float = UNSEEN_SHARE) -> str:
    """The earliest part that is allowed for a search in which this entity is relevant."""
    return part_by_hash("unseen", entity_id, share, share)


def assign_parts(events: pl.DataFrame, unseen_share: float = 0.0) -> pl.DataFrame:
    """The same rows in the same order with `part` (and `slice`) filled. Parts that are given are kept.

    `events` conforms to `EVENT_SCHEMA`, null parts allowed. `unseen_share` 0 = no unseen slice.
    """
    rankings = _rankings(conform(events), unseen_share)
    parts = rankings.select(
        "ranking_id",
        pl.max_horizontal(_time_rank(), *_hash_ranks(rankings)).alias("rank"),
        "unseen",
    )
    parts = parts.with_columns(
        pl.when((pl.col("unseen") > 0) & (pl.col("unseen") == pl.col("rank")))
        .then(pl.lit(UNSEEN_SLICE))
        .alias("new_slice")
    )
    named = pl.col("rank").replace_strict(list(_RANK.values()), list(_RANK), return_dtype=pl.String)
    given = pl.col("part").is_not_null()
    joined = conform(events).join(parts, on="ranking_id", how="left", maintain_order="left")
    named_parts = joined.with_columns(pl.coalesce("part", named).alias("part"), given=given)
    return (
        _without_seen(named_parts)
        .with_columns(pl.when("given").then("slice").otherwise(pl.coalesce("slice", "new_slice")).alias("slice"))
        .drop("rank", "unseen", "new_slice", "given")
    )


def _without_seen(slices: pl.DataFrame) -> pl.DataFrame:
    """Events with `part` and `new_slice`, which is cleared in each query with an entity that training finds."""
    relevant = (pl.col("task") == SEARCH) & (pl.col("label") > 0)
    trained = slices.filter(relevant, part=TRAIN)["entity_id"].unique().implode()
    query = ("part", "user_id", pl.coalesce("query", "ranking_id"))  # rows of one query may be ranked together
    seen = (relevant & pl.col("entity_id").is_in(trained)).any().over(query)
    return slices.with_columns(pl.when(~seen).then("new_slice").alias("new_slice"))


def _rankings(events: pl.DataFrame, unseen_share: float) -> pl.DataFrame:
    """One row per ranking, in order of appearance: its context, and the rank that rule 4 gives it."""
    ids = events["entity_id"].unique().to_list() if unseen_share > 0 else []
    ranks = {entity_id: _RANK[unseen_part(entity_id, unseen_share)] for entity_id in ids}
    relevant = (pl.col("label") > 0) & (pl.col("task") == SEARCH)
    entity_rank = pl.col("entity_id").replace_strict(ranks, default=0, return_dtype=pl.Int32)
    return events.group_by("ranking_id", maintain_order=True).agg(
        pl.col("user_id", "query", "source_entity_id").drop_nulls().first(),
        pl.col("timestamp").min(),
        pl.when(relevant).then(entity_rank).otherwise(0).max().alias("unseen"),
    )


def _time_rank() -> pl.Expr:
    """Rule 1: the rank, 0, 1 or 2, by the position of a ranking among its user's rankings with a timestamp."""
    timed = pl.col("user_id").is_not_null() & pl.col("timestamp").is_not_null()
    place = pl.col("timestamp").rank("ordinal").over("user_id", timed)
    total = pl.len().over("user_id", timed)
    held_out = pl.when(total >= SHORTEST_HISTORY).then(total // 10).otherwise(0)
    rank = (place > total - held_out).cast(pl.Int32) + (place > total - 2 * held_out).cast(pl.Int32)
    return pl.when(timed).then(rank).otherwise(0).cast(pl.Int32)


def _hash_ranks(rankings: pl.DataFrame) -> list[pl.Series]:
    """The highest rank, 0, 1 or 2, that rules 2 to 4 give each ranking."""
    texts = [normalise(query) if query else "" for query in rankings["query"]]
    anonymous = rankings["user_id"].is_null()
    moved = _ranks_by_text(texts, rankings["unseen"] * anonymous)
    ranks = []
    timed = (~anonymous & rankings["timestamp"].is_not_null()).to_list()
    columns = zip(texts, rankings["source_entity_id"], rankings["ranking_id"], rankings["unseen"], timed, strict=True)
    for text, source, ranking, unseen, has_time in columns:
        by_key = _RANK[_part_of_key(text, source, ranking, has_time)]
        ranks.append(max(by_key, unseen, moved.get(text, 0)))
    return [pl.Series("hash_rank", ranks, dtype=pl.Int32)]


def _ranks_by_text(texts: Iterable[str], ranks: Iterable[int]) -> dict[str, int]:
    """The highest rank that rule 4 gives each text; texts that it does not move are left out."""
    moved: dict[str, int] = {}
    for text, rank in zip(texts, ranks, strict=True):
        if text and rank:
            moved[text] = max(rank, moved.get(text, 0))
    return moved


def _part_of_key(text: str, source: str | None, ranking: str, has_time: bool) -> str:
    if text:
        return text_part(text)
    if has_time:
        return TRAIN  # rule 1 alone decides
    return source_part(source) if source else part_by_hash("ranking", ranking, *SOURCE_SHARES)
