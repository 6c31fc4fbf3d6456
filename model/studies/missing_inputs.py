"""A trained network evaluated with a field left null that a rule would have imputed, and without the user.

Measures the value of imputation and of the user at inference; the network is not retrained (for that see
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
from model.studies.subjects import WithNulls

PERSON = ("homepage", "tags")  # protocols with a user


@dataclass(frozen=True, slots=True)
class MissingInput:
    """An input that is left out, the tasks that it affects, and the subject without it."""

    name: str
    tasks: tuple[str, ...]
    protocols: tuple[str, ...] | None  # None = all protocols of those tasks
    subject: Callable[[NetworkSubject], Subject]


def missing_inputs(rules: Rules) -> Iterator[MissingInput]:
    """Each field that a rule fills with a value, then the user."""
    for name in FIELDS:
        tasks = tuple(task for task in (SEARCH, HOMEPAGE, MORE_LIKE_THIS) if _is_filled(rules, task, name))
        if tasks:
            changed = {**rules, **{task: {**rules[task], name: (f"null_{_short_name(name)}",)} for task in tasks}}
            yield MissingInput(f"{name} not imputed", tasks, None, partial(_with_rules, changed))
    yield MissingInput(
        "nobody told", (SEARCH, HOMEPAGE), PERSON, lambda network: WithNulls(network, user_id=None, history=())
    )


def _is_filled(rules: Rules, task: str, name: str) -> bool:
    return any(not rule.startswith("null_") and rule != "required" for rule in rules[task][name])


def _short_name(name: str) -> str:
    return {"source_entity_id": "source", "user_id": "user"}.get(name, name)


def _with_rules(rules: Rules, network: NetworkSubject) -> NetworkSubject:
    catalogue = network.catalogue
    return NetworkSubject(CatalogueRanker(catalogue.scorer, catalogue.ids, catalogue.names, catalogue.records, rules))
