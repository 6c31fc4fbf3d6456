"""Imputation: the rules that fill the missing fields of a context, the same in training and in serving.

The rules are data (a table task → field → rule names, tried in order) and are stored in the model artefact.
This file encodes nothing: it returns a filled `Context` and a list of the imputed fields with their rules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from model.context.context import (
    HOMEPAGE,
    MORE_LIKE_THIS,
    SEARCH,
    TITLE_RULE,
    Context,
    FilledContext,
    Imputed,
)
from model.text.normalise import tokens_of_name

Rules = Mapping[str, Mapping[str, tuple[str, ...]]]
DisplayName = Callable[[str], str | None]

FIELDS = ("source_entity_id", "query", "user_id", "country")
FALLBACK = "*"  # rules of all tasks that are not in the table

_NULLS = {"user_id": ("null_user",), "country": ("null_country",)}
DEFAULT_RULES: Rules = {
    SEARCH: {"source_entity_id": ("null_source",), "query": ("null_query",), **_NULLS},
    MORE_LIKE_THIS: {
        "source_entity_id": ("required",),
        "query": ("source_display_name", "null_query"),
        **_NULLS,
    },
    HOMEPAGE: {
        "source_entity_id": ("last_engaged_entity", "null_source"),
        "query": (TITLE_RULE, "last_engaged_display_name", "null_query"),
        **_NULLS,
    },
    FALLBACK: {
        "source_entity_id": ("null_source",),
        "query": ("source_display_name", "null_query"),
        **_NULLS,
    },
}


class MissingFieldError(ValueError):
    """The task requires a context field that is missing, and no rule may fill it."""

    def __init__(self, task: str, field: str) -> None:
        super().__init__(f"task '{task}' needs '{field}': no rule fills it")
        self.task = task
        self.field = field


def fill(context: Context, rules: Rules, display_name: DisplayName) -> FilledContext:
    """Impute the fields that the client left out.

    `display_name` maps an entity id to its name, or None where unknown. Raises `MissingFieldError` where the
    task needs a field that is missing. Filling a filled context changes nothing (UniCoRn, arXiv 2408.10394, §3.2).
    """
    context = _without_blank_query(context)
    table = rules.get(context.task) or rules[FALLBACK]
    imputed = []
    for field in FIELDS:
        if getattr(context, field) is not None:
            continue
        entry = _impute(field, table[field], context, display_name)
        imputed.append(entry)
        if entry.value is not None:
            context = _with_field(context, field, entry.value)
    return FilledContext(context, tuple(imputed))


def can_fill(context: Context, rules: Rules) -> bool:
    """Whether the context has every field that the task requires."""
    table = rules.get(context.task) or rules[FALLBACK]
    return all(getattr(context, field) is not None or "required" not in table[field] for field in FIELDS)


def _without_blank_query(context: Context) -> Context:
    if context.query is not None and not context.query.strip():
        return replace(context, query=None)
    return context


def _with_field(context: Context, field: str, value: str) -> Context:
    if field == "query":
        return replace(context, query=value)
    return replace(context, source_entity_id=value)


def _impute(field: str, names: tuple[str, ...], context: Context, display_name: DisplayName) -> Imputed:
    for name in names:
        if name == "required":
            raise MissingFieldError(context.task, field)
        if name.startswith("null_"):
            return Imputed(field, None, name)
        value = _apply(name, context, display_name)
        if value:
            return Imputed(field, value, name)
    raise ValueError(f"the rules for '{field}' of task '{context.task}' do not end with a null rule: {names}")


def _apply(rule: str, context: Context, display_name: DisplayName) -> str | None:
    if rule == "last_engaged_entity":
        return context.last_engaged()
    if rule == TITLE_RULE:
        return tokens_of_name(context.row_title or "") or None
    if rule == "source_display_name":
        return _display_name_query(context.source_entity_id, display_name)
    if rule == "last_engaged_display_name":
        return _display_name_query(context.last_engaged(), display_name)
    raise ValueError(f"unknown imputation rule '{rule}'")


def _display_name_query(entity_id: str | None, display_name: DisplayName) -> str | None:
    name = display_name(entity_id) if entity_id is not None else None
    return (tokens_of_name(name) or None) if name else None


def rules_to_json(rules: Rules) -> dict[str, dict[str, list[str]]]:
    """The table as plain dictionaries and lists, for the manifest."""
    return {task: {field: list(names) for field, names in fields.items()} for task, fields in rules.items()}


def rules_from_json(table: Mapping[str, Mapping[str, list[str]]]) -> Rules:
    """The table from its form in a manifest."""
    return {task: {field: tuple(names) for field, names in fields.items()} for task, fields in table.items()}
