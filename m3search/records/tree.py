"""Tree: lines that belong under lines, for people; the command line draws the same with colours."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Tree:
    """A line, and what stands under it."""

    text: str
    branches: list[Tree] = field(default_factory=list)

    def add(self, text: str) -> Tree:
        """A new last branch."""
        self.branches.append(Tree(text))
        return self.branches[-1]

    def __str__(self) -> str:
        return "\n".join([self.text, *self._lines()])

    def _lines(self) -> list[str]:
        made = []
        for branch in self.branches:
            last = branch is self.branches[-1]
            made.append(("└─ " if last else "├─ ") + branch.text)
            made += [("   " if last else "│  ") + line for line in branch._lines()]  # noqa: SLF001 - of its own kind
        return made
