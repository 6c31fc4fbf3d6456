"""The wire types of `/v1`: msgspec decodes and encodes them, OpenAPI documents them. No logic."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from app.models.ab_test import Arm

_SAFE_INTEGER = 2**53 - 1  # beyond it, most JSON readers lose digits, and ours rounds
TEXT = {"pattern": "^[^\\u0000]*$"}  # documented only: the decoder refuses NUL in any text

# Integers are floats that are multiples of 1: JSON does not distinguish 3 from 3.0, and bool is refused.
Count = Annotated[float, Meta(ge=0, le=1_000_000, multiple_of=1)]
Positive = Annotated[float, Meta(ge=1, le=1_000_000, multiple_of=1)]
Timestamp = Annotated[
    float,
    Meta(ge=-_SAFE_INTEGER, le=_SAFE_INTEGER, multiple_of=1, description="ms since 1970 UTC"),
]
# `x-limit` names the setting that limits the length; the OpenAPI document shows its value as maxLength or maxItems.
Id = Annotated[str, Meta(min_length=1, extra_json_schema=TEXT | {"x-limit": "max_id_chars"})]
Query = Annotated[str, Meta(extra_json_schema=TEXT | {"x-limit": "max_query_chars"})]
Features = dict[str, str | float]
Seen = Literal["keep", "drop", "demote"]
Unknown = Literal["score", "last", "drop", "error"]
Priority = Literal["high", "normal", "low"]


class PastEvent(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One earlier event of the user. `label` > 0 = positive engagement."""

    entity_id: Id
    label: float = 1.0
    task: Id = "homepage"
    timestamp: Timestamp | None = None


class Candidate(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One entity to rank."""

    id: Id
    features: Features = field(default_factory=dict)


History = Annotated[
    list[Id | PastEvent],
    Meta(
        description="Oldest first; sorted by time if every event has a timestamp",
        extra_json_schema={"x-limit": "max_history"},
    ),
]
Candidates = Annotated[list[Id | Candidate], Meta(min_length=1, extra_json_schema={"x-limit": "max_candidates"})]
Ids = Annotated[list[Id], Meta(extra_json_schema={"x-limit": "max_candidates"})]
Fields = Annotated[list[Id], Meta(max_length=64)]


class ContextBody(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The context of a ranking. A missing field is filled by a rule, and the answer says so."""

    task: Id
    user_id: Id | None = None
    query: Query | None = None
    country: Id | None = None
    source_entity_id: Id | None = None
    history: History | None = None
    features: Features = field(default_factory=dict)


class Options(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The options of all rankings."""

    exclude: Ids = field(default_factory=list)
    seen: Seen | None = None
    filter: dict[str, Any] | None = None
    boosts: list[Any] = field(default_factory=list)
    pins: list[Any] = field(default_factory=list)
    diversity: Annotated[float, Meta(ge=0, le=1)] = 0.0
    explore: Annotated[float, Meta(ge=0, le=1)] = 0.0
    unknown: Unknown = "last"
    fields: Fields = field(default_factory=list, name="return")
    explain: bool = False
    model: Id | None = None
    priority: Priority | None = None
    timeout_ms: Annotated[float, Meta(ge=1, le=600_000, multiple_of=1)] | None = None


class PageOptions(Options, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The options of a surface that answers with one list."""

    candidates: Candidates | None = None
    limit: Positive | None = None
    offset: Count = 0.0


class RankBody(PageOptions, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Body of `POST /v1/rank`."""

    context: ContextBody


class FlatBody(PageOptions, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Body of a surface that fixes task and source; the other context fields stand beside the options."""

    query: Query | None = None
    user_id: Id | None = None
    country: Id | None = None
    history: History | None = None
    features: Features = field(default_factory=dict)


class SearchBody(FlatBody, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Body of `POST /v1/search`."""


class MoreLikeThisBody(FlatBody, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Body of `POST /v1/more-like-this/{entity_id}`; optional."""


class RowBody(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One row of a homepage. Without candidates, the service retrieves them."""

    row_id: Id
    title: Query | None = None
    candidates: Candidates | None = None
    filter: dict[str, Any] | None = None
    limit: Positive = 10.0


class HomepageBody(Options, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Body of `POST /v1/homepage`. Default: one row, `home`."""

    user_id: Id | None = None
    query: Query | None = None
    country: Id | None = None
    history: History | None = None
    features: Features = field(default_factory=dict)
    rows: Annotated[list[RowBody], Meta(min_length=1, extra_json_schema={"x-limit": "max_rows"})] = field(
        default_factory=lambda: [RowBody(row_id="home")]
    )
    rank_rows: bool = True
    dedupe: bool = True


class ModelName(Struct, frozen=True):
    """The model that answered; `arm` is present during an A/B test, if the request names no model."""

    version: str
    checksum: str
    arm: Arm | UnsetType = UNSET


class ItemAnswer(Struct, frozen=True):
    """One ranked entity. `score` = calibrated probability of positive engagement, null where it has none."""

    id: str
    rank: int
    score: float | None
    entity: dict[str, Any] | UnsetType = UNSET


class ImputedAnswer(Struct, frozen=True):
    """What filled a missing field. A null `value` stands for the network's learned null."""

    value: str | None
    rule: str


class ContextAnswer(Struct, frozen=True):
    """The context that the ranking used, which of its fields were imputed, and how its query was read.

    `understood`: `corrected`, typed word → word of the catalogue; `joined`, words that were typed as two. Absent where
    the query was taken as typed.
    """

    used: dict[str, str | None]
    imputed: dict[str, ImputedAnswer]
    understood: dict[str, Any] | UnsetType = UNSET


class Coverage(Struct, frozen=True):
    """How many distinct candidates there were, and how many got a score."""

    requested: int
    scored: int


class Timings(Struct, frozen=True):
    """The time of each stage in milliseconds. `records` includes retrieval."""

    parse: float
    records: float
    score: float
    rerank: float


class RankAnswer(Struct, frozen=True):
    """Answer of every surface with one list."""

    request_id: str
    ranking_id: str
    task: str
    model: ModelName
    items: list[ItemAnswer]
    context: ContextAnswer
    unknown: list[str]
    degraded: list[str]
    coverage: Coverage
    took_ms: float
    timings: Timings


class RowAnswer(Struct, frozen=True):
    """One row of a homepage; `rank` counts from the top, starting at 1."""

    row_id: str
    rank: int
    ranking_id: str
    context: ContextAnswer
    items: list[ItemAnswer]
    degraded: list[str]


class HomepageAnswer(Struct, frozen=True):
    """Answer of `POST /v1/homepage`: the rows from top to bottom."""

    request_id: str
    model: ModelName
    rows: list[RowAnswer]
    took_ms: float


class EntityAnswer(Struct, frozen=True):
    """One entity of the catalogue: id, name, and its attributes as further keys."""  # for the OpenAPI document only

    entity_id: str
    display_name: str


class Limits(Struct, frozen=True):
    """The limits on requests."""

    max_body_bytes: int
    max_candidates: int
    max_history: int
    max_homepage_candidates: int
    max_rows: int
    max_id_chars: int
    max_query_chars: int
    max_depth: int
    max_queue_candidates: int
    timeout_ms: int


class SplitBody(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Body of `POST /v1/models/{version}/split`: the share of the users that get this model."""

    share: Annotated[float, Meta(gt=0, lt=1)]


class Ready(Struct, frozen=True):
    """The service is ready to rank."""

    status: str
    model: ModelName


class Alive(Struct, frozen=True):
    """The process is alive."""

    status: str
