"""GradientCache: the gradients of a large batch, with the activations of a small piece.

Imports its neighbours and torch. Invariant: the gradients of all three outputs' losses equal the whole batch's to 1e-5.

Three passes (Gao and others 2021, "Scaling deep contrastive learning batch size under memory limited setup", section
3): all pieces without graphs; the loss over all outputs, for the gradients of the outputs; each piece again with its graph,
from these gradients to the parameters'. The third runs when the loss is asked to go backward, so whatever scales the
loss (accumulation, fp16) scales it too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from m3search.training.batches import pieces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from m3search.training.losses import Losses, Terms
    from m3search.training.model import Outputs

SIDES = ("queries", "passages")


def whole_loss(model: Callable[..., Outputs], inputs: Mapping[str, Any], losses: Losses, step: int = 0) -> Terms:
    """The loss of a batch, all of whose activations are kept."""
    queries, passages = (model(**inputs[name]) for name in SIDES)
    return losses(inputs, queries, passages, step)


def cached_loss(
    model: Callable[..., Outputs], inputs: Mapping[str, Any], losses: Losses, *, size: int, step: int = 0
) -> Terms:
    """The loss of a batch, the activations of `size` texts at a time.

    Args:
        model: a `TrainedModel`, or what wraps one.
        inputs: what `batches.Collator` made.
        losses: the loss.
        size: texts whose activations are there at once.
        step: how many steps were taken.
    """
    if not torch.is_grad_enabled():
        return whole_loss(model, inputs, losses, step)
    sides = {name: pieces(inputs[name], size) for name in SIDES}
    chances: dict[str, list[_Chance]] = {name: [] for name in SIDES}
    outputs: dict[str, list[Outputs]] = {name: [] for name in SIDES}
    with torch.no_grad():
        for name, parts in sides.items():
            for part in parts:
                chances[name].append(_Chance(part["ids"].device))
                outputs[name].append(model(**part))
    leaves = {name: _joined(parts) for name, parts in outputs.items()}
    terms = losses(inputs, leaves["queries"], leaves["passages"], step)
    terms.total.backward()  # type: ignore[no-untyped-call]
    gradients = {name: _split(leaves[name], outputs[name]) for name in SIDES}
    total = terms.total.detach().requires_grad_()

    def again(scale: torch.Tensor) -> None:
        with torch.enable_grad():
            for name, parts in sides.items():
                for part, chance, gradient in zip(parts, chances[name], gradients[name], strict=True):
                    with chance.again():
                        found = model(**part)
                    learning = [key for key, value in found.items() if value.requires_grad and key in gradient]
                    torch.autograd.backward(
                        [found[key] for key in learning], [gradient[key] * scale for key in learning]
                    )

    total.register_hook(again)  # type: ignore[no-untyped-call]
    return replace(terms, total=total)


def _joined(parts: Sequence[Outputs]) -> Outputs:
    """The outputs of all pieces as leaves of a new graph."""
    return {key: torch.cat([part[key] for part in parts]).requires_grad_() for key in parts[0]}


def _split(leaves: Outputs, parts: Sequence[Outputs]) -> list[Outputs]:
    """The leaves' gradients, a piece at a time; an output that had no part in the loss is left out."""
    found: list[Outputs] = [{} for _ in parts]
    for key, leaf in leaves.items():
        if leaf.grad is not None:
            for place, gradient in enumerate(torch.split(leaf.grad, [len(part[key]) for part in parts])):
                found[place][key] = gradient
    return found


class _Chance:
    """The state of the random numbers, so that dropout drops the same again."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    @contextmanager
    def again(self) -> Iterator[None]:
        devices = [self._device] if self._cuda is not None else []
        with torch.random.fork_rng(devices=devices):
            torch.set_rng_state(self._cpu)
            if self._cuda is not None:
                torch.cuda.set_rng_state(self._cuda, self._device)
            yield
