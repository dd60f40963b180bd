"""Drawing: plans and explanations on the terminal, as trees."""

from __future__ import annotations

from typing import TYPE_CHECKING

from m3search.cli.terminal import output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text
    from rich.tree import Tree as RichTree

    from m3search.planning import Plan
    from m3search.records import Hits, Tree


def draw_explanation(hits: Hits) -> None:
    """The plan with what became of it, and every hit's parts."""
    for explained in (hits, *hits):
        _draw(explained.explain().tree())
        output().print()


def draw_plan(plan: Plan) -> None:
    """A plan that was not run."""
    _draw(plan.tree())


def _draw(tree: Tree) -> None:
    from rich.tree import Tree as RichTree

    root = RichTree(_line(tree.text), guide_style="dim")
    _grow(root, tree.branches)
    output().print(root)


def _grow(node: RichTree, branches: Sequence[Tree]) -> None:
    for branch in branches:
        _grow(node.add(_line(branch.text)), branch.branches)


def _line(text: str) -> Text:
    from rich.text import Text

    head, colon, rest = text.partition(": ")
    return Text(head, style="bold").append(colon + rest, style="not bold")
