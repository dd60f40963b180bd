"""Fit: the training of an M3 model from examples to a folder.

Imports its neighbours, encoder, errors; transformers' training loop and accelerate (extra "train") on use. Invariant: the
same files, settings and seed give the same batches, and a training that was interrupted goes on as if it had not been.

Optimiser, schedule, loop, mixed precision and checkpoints are transformers'; what is computed in a step is ours.
"""

from __future__ import annotations

import importlib.util
import json
import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m3search.errors import EncoderError, InputError, MissingExtraError, ResumeError
from m3search.training.examples import ExampleSet, read_sets

if TYPE_CHECKING:
    from m3search.encoder.checkpoint import Checkpoint
    from m3search.training.losses import Losses

PRECISIONS = ("fp32", "bf16", "fp16")
WORK = "training"
"""Folder in the output of checkpoints, settings and curves."""

_MAY_CHANGE = ("device", "evaluate", "evaluate_split", "evaluate_every", "log_every", "save_every")


@dataclass(frozen=True, slots=True)
class Training:
    """How to train.

    Attributes:
        epochs: passes over all examples.
        max_steps: steps after which to stop, whatever the epochs; None: none.
        batch: queries of a step of the optimiser before accumulation.
        group: passages of a query, its positive and negatives.
        accumulate: batches whose gradients are added up for one step; each has its own negatives.
        piece: texts whose activations are there at once (GradCache); None: all of the batch.
        checkpointing: keep only the layers' inputs, and compute the rest again.
        precision: "fp32", "bf16" or "fp16" (CUDA).
        learning_rate: the highest.
        warmup: share of the steps in which it rises.
        schedule: transformers' name of how it falls.
        weight_decay: of AdamW.
        query_tokens: tokens of a query, special ones counted in.
        passage_tokens: tokens of a passage.
        heads_only: train only these heads ("lexical", "colbert"); None: everything.
        new_heads: heads to begin anew.
        colbert_dim: width of a new multi-vector head; None: the old one's.
        teacher: whether to use the scores that examples have.
        evaluate: a BEIR folder to measure on, at the end and every `evaluate_every` steps; None: nothing.
        evaluate_split: which judgements; never those that are reported.
        evaluate_every: steps between measurements; None: only at the end.
        save_every: steps between checkpoints; None: none but the result.
        keep: how many checkpoints are kept.
        log_every: steps between lines of the curves.
        device: "auto" or "cpu".
        seed: of batches, new heads and dropout.
    """

    epochs: float = 1.0
    max_steps: int | None = None
    batch: int = 16
    group: int = 1
    accumulate: int = 1
    piece: int | None = None
    checkpointing: bool = False
    precision: str = "fp32"
    learning_rate: float = 1e-5
    warmup: float = 0.1
    schedule: str = "linear"
    weight_decay: float = 0.0
    query_tokens: int = 64
    passage_tokens: int = 256
    heads_only: tuple[str, ...] | None = None
    new_heads: tuple[str, ...] = ()
    colbert_dim: int | None = None
    teacher: bool = False
    evaluate: str | None = None
    evaluate_split: str = "dev"
    evaluate_every: int | None = None
    save_every: int | None = None
    keep: int = 2
    log_every: int = 10
    device: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("max_steps", "batch", "group", "accumulate", "piece", "evaluate_every", "save_every", "keep"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}: give a whole number from 1")
        if self.precision not in PRECISIONS:
            raise InputError(f"there is no precision {self.precision!r}: {', '.join(PRECISIONS)}")
        for name in ("epochs", "learning_rate"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise InputError(f"{name} is {getattr(self, name)}: give a number above 0")
        if self.device not in {"auto", "cpu"}:
            raise InputError(f'device is {self.device!r}: "auto" takes what there is, "cpu" the processor')


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training gave.

    Attributes:
        folder: the model, in M3's layout.
        steps: of the optimiser.
        loss: the mean over them.
        seconds: on the clock.
        values: blend -> nDCG@10 at the end, where there was something to measure on.
        history: what was logged.
    """

    folder: Path
    steps: int
    loss: float
    seconds: float
    values: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)


def fit(
    data: Iterable[str | Path] | str | Path,
    output: str | Path,
    *,
    model: str | Path = "mini",
    revision: str | None = None,
    training: Training | None = None,
    losses: Losses | None = None,
    resume: bool = False,
    progress: bool = True,
    **changes: Any,  # noqa: ANN401 - the fields of Training
) -> Trained:
    """Trains a model.

    Args:
        data: files of examples (`examples.read_sets`), or folders of such.
        output: folder of the new model; beside it ``training/`` with checkpoints, ``losses.csv`` and ``losses.svg``.
        model: "mini", a name on the hub, or a folder in M3's layout.
        revision: the hub's branch, tag or commit.
        training: how; None: the defaults.
        losses: what for; None: the paper's, or a head's own where only one head is trained.
        resume: go on from the last checkpoint in `output`; where there is none, begin.
        progress: draw a bar when standard error is a terminal.
        changes: fields of `Training` by name, such as ``batch=64``.

    Raises:
        InputError: settings that cannot be, or examples that lack what they need.
        SourceError: a file cannot be read.
        ResumeError: the interrupted training had other settings or examples.
        EncoderError: the model cannot be loaded.
        MissingExtraError: accelerate is not installed.
    """
    if importlib.util.find_spec("accelerate") is None:
        raise MissingExtraError("accelerate", "train", "training")
    from m3search.encoder.encoder import locate
    from m3search.training.losses import losses_of

    training = replace(training or Training(), **changes)
    losses = losses or losses_of(None, heads_only=training.heads_only)
    sets = read_sets([data] if isinstance(data, (str, Path)) else data)
    output = Path(output)
    checkpoint = locate(model, revision)
    _check_learning(training, losses)
    last = _prepare(output, _record(checkpoint, sets, training, losses), resume=resume)

    from m3search.training.loop import run

    started = time.monotonic()
    result = run(checkpoint, sets, output, training, losses, last=last, progress=progress)
    return replace(result, seconds=time.monotonic() - started)


def _check_learning(training: Training, losses: Losses) -> None:
    heads = training.heads_only
    if heads is None:
        return
    from m3search.training.model import check_heads

    check_heads(heads)
    if not heads:
        raise InputError("heads_only names no head: give lexical, colbert or both, or None to train everything")
    if not set(heads) & losses.outputs:
        raise InputError(f"only the heads {', '.join(heads)} learn, but no loss weighs them: give their loss a weight")


def _record(checkpoint: Checkpoint, sets: list[ExampleSet], training: Training, losses: Losses) -> dict[str, Any]:
    settings = {key: value for key, value in asdict(training).items() if key not in _MAY_CHANGE}
    record = {
        "model": checkpoint.name,
        "revision": checkpoint.revision,
        "sets": {one.name: len(one.examples) for one in sets},
        "training": settings,
        "losses": asdict(losses),
    }
    plain: dict[str, Any] = json.loads(json.dumps(record))
    return plain


def _prepare(output: Path, record: dict[str, Any], *, resume: bool) -> Path | None:
    """The checkpoint to go on from; sees that nothing is overwritten and that an old training was the same."""
    note = output / WORK / "settings.json"
    if resume and note.is_file():
        known = json.loads(note.read_text(encoding="utf-8"))
        for key, value in record.items():
            if known.get(key) != value:
                raise ResumeError(
                    f"the training in {output} had another {key}: {_difference(known.get(key), value)}; go on with "
                    "the same, or begin in another folder"
                )
        found = [path for path in (output / WORK).glob("checkpoint-*") if (path / "trainer_state.json").is_file()]
        return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
    if output.exists() and any(output.iterdir()):
        raise InputError(f"{output} is not empty: give a new folder, or resume the training that is there")
    try:
        note.parent.mkdir(parents=True)
        note.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise EncoderError(f"{output} cannot be written ({error}): give another folder") from error
    return None


def _difference(known: object, asked: object) -> str:
    if isinstance(known, dict) and isinstance(asked, dict):
        key = next(key for key in (*asked, *known) if known.get(key) != asked.get(key))
        return f"{key} was {known.get(key)!r} and is {asked.get(key)!r}"
    return f"it was {known!r} and is {asked!r}"
