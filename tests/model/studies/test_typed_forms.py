"""Typed forms are counted as found where their name comes first, and a bad file is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from model.artefact.model import Artefact
from model.studies import typed_forms as study
from model.studies.typed_forms import TypedForm, found_forms, read_forms


def test_forms_are_counted_by_kind(artefact: Artefact, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (artefact.catalogue.names[entity] for entity in artefact.catalogue.ids[:2])
    answers = {"a": [first, second], "b": [second, first], "c": [], "+": []}
    monkeypatch.setattr(study, "first_names", lambda _, query: answers[query])
    forms = [TypedForm("slip", query, first) for query in "abc"]
    forms += [TypedForm("symbols", "+", ""), TypedForm("symbols", "a", ""), TypedForm("slip", "a", "a name of nobody")]
    kinds, left_out = found_forms(artefact, forms)
    assert {kind: (found.forms, found.first, found.among) for kind, found in kinds.items()} == {
        "slip": (3, 1, 2),
        "symbols": (2, 1, 1),
    }
    assert [form.query for form in kinds["slip"].missed] == ["b", "c"]
    assert left_out == forms[-1:]


def test_a_whole_name_is_found_and_nothing_is_not(artefact: Artefact) -> None:
    name = artefact.catalogue.names[artefact.catalogue.ids[0]]
    assert name in study.first_names(artefact, name)
    assert study.first_names(artefact, "+++") == []


def test_the_committed_forms_can_be_read() -> None:
    folder = Path(__file__).parents[3] / "docs" / "studies" / "typed-forms"
    forms = [form for file in ("films.csv", "scripts.csv") for form in read_forms(folder / file)]
    assert len(forms) >= 200
    assert len({(form.kind, form.query) for form in forms}) >= 200


def test_another_file_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("kind,query\nslip,a\n")
    with pytest.raises(ValueError, match="expected the columns kind, query, name; there is no name"):
        read_forms(tmp_path / "f.csv")
    with pytest.raises(ValueError, match="found none"):
        read_forms(tmp_path / "absent.csv")
