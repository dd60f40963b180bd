"""Report: the record as Markdown."""

from __future__ import annotations

from typing import Any

from common.markdown import ms, table

from filters.collection import KEPT


def report(record: dict[str, Any]) -> str:
    """Tables of all sizes."""
    about = (
        f"m3search {record['m3search']}, {record['date']}, {record['machine']['cpu']}, one thread. Median CPU "
        f"milliseconds of a search for 10 documents among those that a filter (`n < ...`) keeps; contestants take "
        f"turns query by query. All evaluate the filter in every search; ours would else keep the last 16 of a "
        f"generation."
    )
    parts = ["# Filters", about]
    for size in record["sizes"]:
        parts.append(f"## {size['documents']:,} documents, {size['dim']} dimensions, {size['queries']} queries")
        rows = [
            [name, *(ms(found[kept]["ms"]) for kept in KEPT), *(f"{found[kept]['overlap']:.3f}" for kept in KEPT)]
            for name, found in size["dense"].items()
        ]
        head = ["dense vectors alone", *(f"{kept}, ms" for kept in KEPT), *(f"{kept}, overlap" for kept in KEPT)]
        parts.append(table(head, rows, range(1, len(head))))
        parts.append(
            "Overlap is the share of the true ten best (by brute force) that was found. "
            + " ".join(f"{name}: {note}." for name, note in size["notes"].items() if note)
        )
        rows = [[name, *(ms(found[kept]["ms"]) for kept in KEPT)] for name, found in size["blends"].items()]
        parts.append(table(["ours", *(f"{kept}, ms" for kept in KEPT)], rows, range(1, len(KEPT) + 1)))
        rows = [
            [name, f"{one['answers']:,}", str(one["short"]), str(one["wrong"])] for name, one in size["checked"].items()
        ]
        parts.append("Answers with each of these filters, held to brute force over the same documents:")
        parts.append(
            table(["ours", "answers", "with another number of hits", "other than brute force"], rows, (1, 2, 3))
        )
        for segments, found in size["evaluation"].items():
            rows = [[f"`{one['filter']}`", f"{one['kept']:,}", ms(one["ms"])] for one in found.values()]
            parts.append(f"Evaluating a filter of three clauses alone, {segments}:")
            parts.append(table(["filter", "keeps", "ms"], rows, (1, 2)))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"
