"""The report of a study as one self-contained page: no script, no font, no address.

Makes no claims of its own: all figures come from the JSON report.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from model.studies.plots import reliability, slice_bars, training_curves

Report = Mapping[str, Any]
Row = Mapping[str, Any]
OURS = "joint"
TITLES = {"specialists": "One network against the specialists", "ablations": "What each part of the network is worth"}
WHAT = {
    "slates": "Judged search: the results that people judged for a query, put in order.",
    "catalogue": "The same queries over the whole catalogue: are the judged ones among the first thirty?",
    "sentences": "Well-known films described in a sentence, over the whole catalogue.",
    "names": "Searches by the whole name of an entity, without a user: is it first?",
    "names, somebody asks": "The same searches, each by a user drawn at random: taste must not hurt.",
    "tags": "Words that a user gave to an entity, as a search for it over the whole catalogue.",
    "homepage": "What users liked later, over the whole catalogue without what they have seen.",
    "derived": "Pairs of similar entities that were derived as labels for more-like-this, over the whole catalogue.",
    "co_likes": "More-like-this: entities liked by the same users later, against others as popular and as old.",
    "shared_tags": "More-like-this: entities found by the same words later, against others as popular and as old.",
    "family": "More-like-this: one franchise or director, against others as popular and as old; a training rule, too.",
    "by_people": "More-like-this: pairs that people judged alike, against pairs of the same source that they did not.",
}
CSS = """
:root { color-scheme: light dark; --line: #8884; --strong: #0072b2; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
table { border-collapse: collapse; font-size: .9rem; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.number { text-align: right; font-variant-numeric: tabular-nums; } tr.ours td { font-weight: 600; }
figure { margin: 1rem 0; } figcaption { font-size: .9rem; opacity: .8; } svg { max-width: 100%; height: auto; }
.good { color: #009e73; } .bad { color: #d55e00; }
"""


def page(report: Report) -> str:
    """The whole page."""
    about = report["dataset"]
    title = f"{TITLES.get(report['study'], report['study'])}: {about['name']}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{about['entities']:,} entities, {about['events']:,} events; all figures are of the test part"
        f"{escape(', cut ' + report['cut'] if 'cut' in report else '')}. "
        f"Every model was chosen on validation, and before any test figure was seen one specialist a task was named: "
        f"{escape(', '.join(f'{name} ({task})' for task, name in report['named'].items()) or 'none here')}. "
        f"Intervals are 95 %, by bootstrap over users or queries; seeds are averaged first; p is two-sided and "
        f"corrected by Holm's method over the questions asked beforehand.</p>",
        *_claims(report),
        *(part for protocol in _protocols(report) for part in _protocol(report, protocol)),
        *_training(report.get("curves", {})),
        *_calibration(report.get("calibration", {})),
        *_settings(report),
    ]
    return document(title, parts)


def document(title: str, parts: Iterable[str]) -> str:
    """A page of these parts, with its style sheet."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = _lines(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{CSS}</style></head>\n<body>\n{body}</body></html>\n'


def _claims(report: Report) -> list[str]:
    """Sentences that answer the questions asked beforehand."""
    main = [row for row in report["differences"] if row["main"] and row["slice"] == "all"]
    if not main:
        return ["<p>The joint network has not been run yet: these are its rivals.</p>"]
    return ["<h2>Questions asked beforehand</h2>", "<ul>", *(f"<li>{_sentence(row)}</li>" for row in main), "</ul>"]


def _sentence(row: Row) -> str:
    significant = row["low"] > 0 or row["high"] < 0
    verdict = ("better than", "worse than")[row["value"] < 0] if significant else "not told apart from"
    style = ("good", "bad")[row["value"] < 0] if significant else ""
    return (
        f"{escape(row['protocol'])}: {escape(row['ours'])} is <span class='{style}'>{verdict}</span> "
        f"{escape(row['rival'])} in {escape(row['metric'])} by {row['value']:+.4f} "
        f"({row['low']:+.4f} to {row['high']:+.4f}; "
        f"{row['relative']:+.1%}; p = {row.get('p_holm', row['p']):.4f})."
    )


def _protocols(report: Report) -> list[str]:
    return list(dict.fromkeys(row["protocol"] for row in report["table"]))


def _protocol(report: Report, protocol: str) -> list[str]:
    rows = [row for row in report["table"] if row["protocol"] == protocol]
    metrics = list(dict.fromkeys(row["metric"] for row in rows))
    means = {(row["model"], row["metric"]): row for row in rows if row["slice"] == "all"}
    models = sorted({model for model, _ in means}, key=lambda m: -means[m, metrics[0]]["value"])
    first = means[models[0], metrics[0]]
    return [
        f"<h2>{escape(protocol)}</h2>",
        f"<p>{escape(WHAT.get(protocol, ''))} {first['rankings']:,} rankings.</p>",
        table(
            ["model", *(part for metric in metrics for part in (metric, "95 %")), "seeds"],
            [(_cells(means, model, metrics), model == OURS) for model in models],
        ),
        *_bars(rows, metrics[0], _main_models(report, protocol, models)),
    ]


def _cells(means: Mapping[tuple[str, str], Row], model: str, metrics: Sequence[str]) -> list[str]:
    rows = [means[model, metric] for metric in metrics]
    numbers = [part for row in rows for part in (f"{row['value']:.4f}", f"{row['low']:.4f} – {row['high']:.4f}")]
    return [model, *numbers, str(rows[0]["seeds"])]


def _main_models(report: Report, protocol: str, models: Sequence[str]) -> list[str]:
    """Ours, the named specialist and the network alone, as far as they have results; else the two best."""
    task = next(row["task"] for row in report["table"] if row["protocol"] == protocol)
    preferred = [OURS, report["named"].get(task), f"{task} alone"]
    return [model for model in preferred if model in models] or list(models[:2])


def _bars(rows: Sequence[Row], metric: str, models: Sequence[str]) -> list[str]:
    shown = {(row["slice"], row["model"]): row for row in rows if row["metric"] == metric and row["model"] in models}
    slices = ["all", *sorted({name for name, _ in shown} - {"all"})]
    if len(slices) == 1:
        return []
    caption = f"{metric} by slice, with 95 % intervals: longer is better; where intervals part, so do the models."
    return [figure(slice_bars(slices, models, shown, metric), caption)]


def _training(curves: Mapping[str, Any]) -> list[str]:
    if not curves:
        return []
    figures = [figure(training_curves(curve), f"{name}: loss, and NDCG@10 on validation, by step.")
               for name, curve in sorted(curves.items()) if name.endswith("seed 0")]  # fmt: skip
    return ["<h2>Training</h2>", *figures]


def _calibration(of_tasks: Mapping[str, Any]) -> list[str]:
    measured = {task: entry for task, entry in of_tasks.items() if entry["ece"] is not None}  # None = no labels
    if not measured:
        return []
    errors = ", ".join(f"{escape(task)} {entry['ece']:.3f}" for task, entry in sorted(measured.items()))
    drawing = reliability({task: entry["bins"] for task, entry in measured.items()})
    caption = "Stated against observed share of positives, in ten bins; on the dotted line what is stated comes true."
    return ["<h2>Calibration</h2>", f"<p>Expected calibration error: {errors}.</p>", figure(drawing, caption)]


def _settings(report: Report) -> list[str]:
    chosen = [([name, ", ".join(f"{k} {v}" for k, v in settings.items())], False)
              for name, settings in report["chosen"].items()]  # fmt: skip
    return ["<h2>Settings chosen on validation</h2>", table(["model", "settings"], chosen)] if chosen else []


def table(head: Iterable[str], rows: Iterable[tuple[Sequence[str], bool]]) -> str:
    """A table; the flag of a row marks it as ours."""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    lines = [f"<tr{' class=ours' if ours else ''}>{''.join(_cell(cell) for cell in row)}</tr>" for row, ours in rows]
    return f'<div class="wide"><table><thead><tr>{titles}</tr></thead><tbody>\n{_lines(lines)}</tbody></table></div>'


def _cell(text: str) -> str:
    return f"<td{' class=number' if text[:1].isdigit() else ''}>{escape(text)}</td>"


def figure(drawing: str, caption: str) -> str:
    """A drawing with a caption below it."""
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>"


def _lines(parts: Iterable[str]) -> str:
    return "".join(f"{part}\n" for part in parts)
