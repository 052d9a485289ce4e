"""All results as one document: JSON for programs, Markdown tables for docs/performance.md."""

from collections.abc import Sequence
from typing import Any

from benchmarks.gpu.processes import PartOutcome

Document = dict[str, Any]


def document(
    outcomes: Sequence[PartOutcome], *, is_rehearsal: bool, benchmark: str = "gpu"
) -> Document:
    """Return what the parts measured, their tables by name, and how each part went."""
    tables: dict[str, dict[str, Any]] = {}
    for outcome in outcomes:
        for line in outcome.lines:
            if "row" in line:
                table = tables.setdefault(
                    line["table"], {"part": outcome.name, "title": line["title"], "rows": []}
                )
                table["rows"].append(line["row"])
    parts = [
        {
            "name": each.name,
            "status": each.status,
            "seconds": round(each.seconds, 1),
            "problems": list(each.problems),
        }
        for each in outcomes
    ]
    return {"benchmark": benchmark, "is_rehearsal": is_rehearsal, "parts": parts, "tables": tables}


def markdown(report: Document) -> str:
    """Return the tables, and what went wrong at the end, where nobody can miss it."""
    paragraphs = []
    if report["is_rehearsal"]:
        paragraphs.append("A rehearsal on a CPU: the figures mean nothing.")
    seconds = ", ".join(f"{part['name']} {part['seconds']:.0f}" for part in report["parts"])
    paragraphs.append(f"Seconds by part: {seconds}.")
    paragraphs += [_table(each["title"], each["rows"]) for each in report["tables"].values()]
    problems = [
        f"- {part['name']} ({part['status']}): {problem}"
        for part in report["parts"]
        for problem in part["problems"]
    ]
    if problems:
        paragraphs.append("\n".join(["Problems:", "", *problems]))
    return "\n\n".join(paragraphs) + "\n"


def _table(title: str, rows: Sequence[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    # Words to the left, numbers to the right.
    rules = [
        "---" if any(isinstance(row.get(column), str) for row in rows) else "--:"
        for column in columns
    ]
    lines = [[column.replace("_", " ") for column in columns], rules]
    lines += [[_cell(row.get(column)) for column in columns] for row in rows]
    return "\n".join([f"**{title}**", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _cell(value: object) -> str:
    """Return a value in as few characters as say enough."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and not value.is_integer():
        size = abs(value)
        if size < 0.01:
            return f"{value:.1e}"
        return f"{value:,.{0 if size >= 100 else 1 if size >= 10 else 2}f}"
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value).replace("|", "/")
