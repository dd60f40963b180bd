"""Report: the results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.markdown import table

from encode.contestants import FLAG
from encode.targets import lines

HOW = """\
CPU time, medians; contestants take turns, each in a process of its own. Models have random weights in BGE-M3's shape
(layers x width, 250,002 tokens). FlagEmbedding runs with its defaults: batches of 256 texts, the first of them run twice,
dense vectors only; ours makes dense and lexical outputs. A contestant's correlation is that of the similarities of all
pairs of texts with those of the first row.
"""


def report(record: Mapping[str, Any]) -> str:
    """All tables."""
    machine = record["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    where = f"{machine['cpu']}, {machine['cores']} cores of which one is used, shared with other work; "
    where += f"Python {machine['python']}; {record['date']}. {versions}.\n"
    targets = [(line.what, line.asked, line.found) for line in lines(record)]
    parts = [
        "# The encoder and its peers\n",
        where,
        HOW,
        "## Targets\n",
        table(("what", "asked", "found"), targets, ()),
    ]
    for one in record.get("throughput", []):
        head = (
            "",
            "tokens / CPU s",
            f"times {one['against']}",
            "correlation",
            "least cosine",
            "largest difference",
            "passes",
        )
        base = one["contestants"][one["against"]]["tokens_per_second"]
        rows = [
            (
                name,
                f"{row['tokens_per_second']:.0f}",
                f"{row['tokens_per_second'] / base:.2f}",
                f"{row['correlation']:.6f}",
                f"{row['least_cosine']:.5f}",
                f"{row['largest_difference']:.1e}",
                str(row["passes"]),
            )
            for name, row in one["contestants"].items()
        ]
        lengths = f"{one['texts']:,} texts of 8 to 512 tokens, {one['tokens']:,} tokens"
        parts += [f"## {one['shape']}: {lengths}\n", table(head, rows, range(1, len(head)))]
    for one in record.get("latency", []):
        base = one["seconds"][FLAG]
        rows = [(name, f"{1000 * value:.2f}", f"{value / base:.2f}") for name, value in one["seconds"].items()]
        parts += [f"## One query of 8 words: {one['model']}\n", table(("", "CPU ms", f"of {FLAG}'s"), rows, (1, 2))]
    if lexical := record.get("lexical"):
        rows = [(name, f"{1000 * value:.2f}") for name, value in lexical["seconds"].items()]
        parts += ["## Lexical output of 32 x 512 tokens, after the forward pass\n", table(("", "CPU ms"), rows, (1,))]
    if memory := record.get("memory"):
        rows = [
            (name, f"{value / 2**20:,.0f}", f"{memory['seconds'][name]:.0f}") for name, value in memory["bytes"].items()
        ]
        title = (
            f"## {memory['texts']:,} texts of {memory['tokens']} tokens with all three outputs ({memory['shape']})\n"
        )
        parts += [title, table(("", "peak MiB beyond the model", "CPU s"), rows, (1, 2))]
    if long := record.get("long"):
        rows = [
            (name, f"{one['bytes'] / 2**20:,.0f}", f"{one['resident'] / 2**20:,.0f}", f"{one['seconds']:.0f}")
            for name, one in long["contestants"].items()
        ]
        head = ("", "peak MiB beyond the model", "MiB of the whole process", "CPU s")
        parts += [
            f"## A text of {long['tokens']:,} tokens in one piece ({long['shape']})\n",
            table(head, rows, (1, 2, 3)),
        ]
    return "\n".join(parts)


def targets(record: Mapping[str, Any]) -> str:
    """What was asked and what was found."""
    return table(("what", "asked", "found"), [(line.what, line.asked, line.found) for line in lines(record)], ())
