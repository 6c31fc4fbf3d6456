"""The requests of a benchmark and their expected answers. All randomness follows from the seed.

Bodies are those of `POST /v1/rank` and differ from one another, so that caching answers gains nothing.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.plain import PlainRanking
from model.artefact.model import Artefact
from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH, Context

USERS = 200
CHECKED = 24  # bodies of each size whose answers are compared before anything is timed

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """The expected answer to one body: logit and score of every candidate, and their order."""

    ids: tuple[str, ...]
    logits: dict[str, float]
    scores: dict[str, float]


@dataclass(frozen=True, slots=True)
class RequestSet:
    """Bodies with the same number of candidates, and the expected answers to the first `CHECKED` of them."""

    candidates: int
    bodies: tuple[bytes, ...]
    expected: tuple[Expected, ...]


def make_requests(artefact: Artefact, candidates: int, count: int, seed: int) -> RequestSet:
    """`count` bodies of `candidates` distinct candidates each. Raises `ValueError` if the catalogue has fewer."""
    if candidates > artefact.entity_count:
        raise ValueError(f"expected at least {candidates} entities to draw from, the model has {artefact.entity_count}")
    rng = random.Random(f"{seed} {candidates}")
    kinds = [kind for task, kind in _KINDS.items() if task in artefact.tasks]
    users = artefact.sample_users(USERS)
    bodies = []
    for number in range(count):
        context = kinds[number % len(kinds)](artefact, users, rng)
        bodies.append({"context": context, "candidates": rng.sample(artefact.catalogue.ids, candidates)})
    plain = PlainRanking(artefact)
    answers = tuple(_expected_answer(plain, body) for body in bodies[:CHECKED])
    return RequestSet(candidates, tuple(json.dumps(body).encode() for body in bodies), answers)


def context_of(body: Body) -> Context:
    """The context of a decoded body."""
    return Context(**body["context"])


def _expected_answer(plain: PlainRanking, body: Body) -> Expected:
    context, candidates = context_of(body), body["candidates"]
    logits = plain.logits(plain.fill(context), candidates).tolist()
    ranked = plain.rank(context, candidates)
    return Expected(
        tuple(entity_id for entity_id, _ in ranked), dict(zip(candidates, logits, strict=True)), dict(ranked)
    )


def _search(artefact: Artefact, users: Sequence[str], rng: random.Random) -> Body:
    """One to three words of a random name; half of the searches have a user id."""
    name = artefact.catalogue.names[rng.choice(artefact.catalogue.ids)].split()
    words = rng.sample(name, min(len(name), rng.randint(1, 3)))
    user = {"user_id": rng.choice(users)} if users and rng.random() < 0.5 else {}
    return {"task": SEARCH, "query": " ".join(words), **user}


def _homepage(artefact: Artefact, users: Sequence[str], rng: random.Random) -> Body:
    return {"task": HOMEPAGE, **({"user_id": rng.choice(users)} if users else {})}


def _more_like_this(artefact: Artefact, users: Sequence[str], rng: random.Random) -> Body:
    return {"task": MORE_LIKE_THIS, "source_entity_id": rng.choice(artefact.catalogue.ids)}


_KINDS: dict[str, Callable[[Artefact, Sequence[str], random.Random], Body]] = {
    SEARCH: _search,
    HOMEPAGE: _homepage,
    MORE_LIKE_THIS: _more_like_this,
}
