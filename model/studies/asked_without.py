"""A trained network asked with a field left null where a rule would have filled it, and without the person.

What imputation and the person are worth at the time of asking; the network itself is not trained anew (for that see
`ablations.py`). Knows protocols, not cells.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from model.context.context import HOMEPAGE, MORE_LIKE_THIS, SEARCH
from model.context.imputation import FIELDS, Rules
from model.evaluation.network_subject import NetworkSubject
from model.evaluation.protocols import Subject
from model.network.catalogue import CatalogueRanker
from model.studies.subjects import Without

PERSON = ("homepage", "tags")  # protocols in which somebody asks


@dataclass(frozen=True, slots=True)
class MissingInput:
    """An input that is left out, the tasks where that changes something, and the subject that is asked so."""

    name: str
    tasks: tuple[str, ...]
    protocols: tuple[str, ...] | None  # None = all of those tasks
    subject: Callable[[NetworkSubject], Subject]


def missing_inputs(rules: Rules) -> Iterator[MissingInput]:
    """Each field that a rule fills with a value, then the person."""
    for name in FIELDS:
        tasks = tuple(task for task in (SEARCH, HOMEPAGE, MORE_LIKE_THIS) if _is_filled(rules, task, name))
        if tasks:
            changed = {**rules, **{task: {**rules[task], name: (f"null_{_short(name)}",)} for task in tasks}}
            yield MissingInput(f"{name} not imputed", tasks, None, partial(_with, changed))
    yield MissingInput(
        "nobody told", (SEARCH, HOMEPAGE), PERSON, lambda network: Without(network, user_id=None, history=())
    )


def _is_filled(rules: Rules, task: str, name: str) -> bool:
    return any(not rule.startswith("null_") and rule != "required" for rule in rules[task][name])


def _short(name: str) -> str:
    return {"source_entity_id": "source", "user_id": "user"}.get(name, name)


def _with(rules: Rules, network: NetworkSubject) -> NetworkSubject:
    had = network.catalogue
    return NetworkSubject(CatalogueRanker(had.scorer, had.ids, had.names, had.records, rules))
