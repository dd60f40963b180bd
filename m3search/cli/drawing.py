"""Drawing: explanations on the terminal, as trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from m3search.cli.terminal import output

if TYPE_CHECKING:
    from rich.tree import Tree as RichTree

    from m3search.planning import Plan
    from m3search.records import Hits


def draw_explanation(hits: Hits) -> None:
    """The plan with what became of it, and every hit's parts."""
    screen = output()
    for explained in (hits, *hits):
        screen.print(_rich(explained.explain().tree()))
        screen.print()


def draw_plan(plan: Plan) -> None:
    """A plan that was not run."""
    output().print(str(plan), markup=False)


def _rich(tree: Any) -> RichTree:  # noqa: ANN401 - lines with branches
    from rich.text import Text
    from rich.tree import Tree

    def grow(node: RichTree, branches: Any) -> None:  # noqa: ANN401
        for branch in branches:
            grow(node.add(_line(branch.text)), branch.branches)

    def _line(text: str) -> Text:
        head, colon, rest = text.partition(": ")
        return Text(head, style="bold").append(colon + rest, style="not bold")

    root = Tree(_line(tree.text), guide_style="dim")
    grow(root, tree.branches)
    return root
