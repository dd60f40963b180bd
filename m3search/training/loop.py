"""Loop: transformers' Trainer with our steps.

Imports its neighbours, encoder, accelerate and transformers' trainer. Invariant: the trainer owns optimiser, schedule,
precision and checkpoints; here are only the loss, the batches and what is logged.
"""

from __future__ import annotations

import math
import os
import sys
from collections import defaultdict
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, SequentialSampler
from transformers import Trainer, TrainerCallback, TrainingArguments, set_seed
from transformers.trainer_callback import PrinterCallback

from m3search.encoder.backbone import pad_id
from m3search.encoder.tokenizer import TextTokenizer
from m3search.errors import EncoderError, InputError
from m3search.training.batches import Batches, Collator
from m3search.training.curves import write_curves
from m3search.training.evaluating import evaluate_model
from m3search.training.fit import WORK, Trained, Training
from m3search.training.gradient_cache import cached_loss, whole_loss
from m3search.training.model import TrainedModel
from m3search.training.saving import save_checkpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from m3search.encoder.checkpoint import Checkpoint
    from m3search.training.examples import ExampleSet
    from m3search.training.losses import Losses

_PRECISION = "ACCELERATE_MIXED_PRECISION"


def run(
    checkpoint: Checkpoint,
    sets: Sequence[ExampleSet],
    output: Path,
    training: Training,
    losses: Losses,
    *,
    last: Path | None,
    progress: bool,
) -> Trained:
    """Trains and saves; see `fit.fit`."""
    batches = Batches(sets, size=training.batch, group=training.group, teacher=training.teacher, seed=training.seed)
    set_seed(training.seed)
    model = TrainedModel(checkpoint, new_heads=training.new_heads, colbert_dim=training.colbert_dim)
    model.outputs = losses.outputs
    if training.heads_only is not None:
        model.freeze(training.heads_only)
    elif training.checkpointing:
        model.checkpoint_activations()
    with _own_precision():
        trainer = Steps(
            model, batches, collator(checkpoint, training), _arguments(output, training, batches, progress), losses
        )
    trainer.piece = training.piece
    if not progress or not sys.stderr.isatty():
        trainer.remove_callback(PrinterCallback)
    trainer.add_callback(_Curves(output / WORK))
    values: dict[str, float] = {}
    if training.evaluate is not None:
        measure = partial(
            evaluate_model,
            checkpoint=checkpoint,
            dataset=Path(training.evaluate),
            split=training.evaluate_split,
            device=training.device,
        )
        trainer.add_callback(_Measures(trainer, model, measure, training.evaluate_every, values))
    try:
        done = trainer.train(resume_from_checkpoint=None if last is None else str(last))
    except torch.OutOfMemoryError as error:
        raise EncoderError(
            "the device's memory is full: set piece to fewer texts (GradCache), checkpointing, or fewer tokens; the batch "
            "can stay"
        ) from error
    save_checkpoint(model, checkpoint, output)
    history = [dict(row) for row in trainer.state.log_history]
    write_curves(history, output / WORK)
    return Trained(output, trainer.state.global_step, float(done.training_loss), 0.0, values, history)


@contextmanager
def _own_precision() -> Iterator[None]:
    """Older versions of transformers leave a training's precision in the environment, where the next training finds it."""
    before = os.environ.pop(_PRECISION, None)
    try:
        yield
    finally:
        os.environ.pop(_PRECISION, None)
        if before is not None:
            os.environ[_PRECISION] = before


def collator(checkpoint: Checkpoint, training: Training) -> Collator:
    """What makes a checkpoint's tensors of texts."""
    settings = checkpoint.settings

    def tokenizer(limit: int) -> TextTokenizer:
        return TextTokenizer(
            checkpoint.tokenizer,
            max_tokens=min(limit, settings.max_tokens),
            pad_id=pad_id(checkpoint),
            vocab_size=int(checkpoint.config["vocab_size"]),
            mask_token=settings.mask_token if checkpoint.config["model_type"] == "bert" else "",
        )

    return Collator(
        tokenizer(training.query_tokens),
        tokenizer(training.passage_tokens),
        query_prefix=settings.query_prefix,
        passage_prefix=settings.passage_prefix,
    )


class Steps(Trainer):
    """The trainer; a batch of `Batches` is what it takes for one example."""

    def __init__(
        self,
        model: TrainedModel,
        batches: Batches,
        collate: Collator,
        arguments: TrainingArguments,
        losses: Losses,
    ) -> None:
        """Puts the parts together."""
        super().__init__(model=model, args=arguments, train_dataset=batches, data_collator=collate)
        self.piece: int | None = None
        self._batches = batches
        self._losses = losses
        self._sums: dict[str, float] = defaultdict(float)
        self._counted = 0

    def get_train_dataloader(self) -> DataLoader[Any]:
        """The batches in their order: they are shuffled already."""
        loader = DataLoader(
            self._batches,
            batch_size=1,
            sampler=SequentialSampler(self._batches),
            collate_fn=self.data_collator,
        )
        prepared: DataLoader[Any] = self.accelerator.prepare(loader)
        return prepared

    def compute_loss(self, model: Any, inputs: Any, *_: Any, **__: Any) -> torch.Tensor:  # noqa: ANN401 - as the trainer's
        """The loss of a batch, whole or in pieces; what it is made of is kept for the log."""
        step = self.state.global_step
        if self.piece is None:
            terms = whole_loss(model, inputs, self._losses, step)
        else:
            terms = cached_loss(model, inputs, self._losses, size=self.piece, step=step)
        self._counted += 1
        for name, value in terms.parts.items():
            self._sums[name] += float(value)
        return terms.total

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - as the trainer's
        """Adds the terms to a line of losses."""
        if "loss" in logs and self._counted:
            logs = logs | {name: value / self._counted for name, value in self._sums.items()}
            self._sums.clear()
            self._counted = 0
        super().log(logs, *arguments, **options)


class _Curves(TrainerCallback):
    """Writes the curves at every line."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_log(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002 - as the trainer's
        write_curves(state.log_history, self._folder)


class _Measures(TrainerCallback):
    """Measures every so many steps, and at the end."""

    def __init__(
        self,
        trainer: Trainer,
        model: TrainedModel,
        measure: Callable[[TrainedModel], dict[str, float]],
        every: int | None,
        values: dict[str, float],
    ) -> None:
        self._trainer, self._model, self._measure, self._every, self._values = trainer, model, measure, every, values
        self._last = -1

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002 - as the trainer's
        if self._every is not None and state.global_step % self._every == 0:
            self._run(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401, ARG002 - as the trainer's
        if state.global_step != self._last:
            self._run(state)

    def _run(self, state: Any) -> None:  # noqa: ANN401 - as the trainer's
        self._last = state.global_step
        training = self._model.training
        self._model.eval()
        self._values.update(self._measure(self._model))
        self._model.train(training)
        self._trainer.log({f"eval {name}": value for name, value in self._values.items()})


def _arguments(output: Path, training: Training, batches: Batches, progress: bool) -> TrainingArguments:
    cuda = torch.cuda.is_available() and training.device == "auto"
    if training.precision == "fp16" and not cuda:
        raise InputError('precision "fp16" needs CUDA: take "bf16" or "fp32"')
    per_epoch = math.ceil(len(batches) / training.accumulate)
    steps = min(math.ceil(per_epoch * training.epochs), training.max_steps or sys.maxsize)
    arguments = TrainingArguments(
        output_dir=str(output / WORK),
        per_device_train_batch_size=1,
        gradient_accumulation_steps=training.accumulate,
        num_train_epochs=training.epochs,
        max_steps=training.max_steps or -1,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        lr_scheduler_type=training.schedule,
        warmup_steps=round(steps * training.warmup),
        fp16=training.precision == "fp16",
        bf16=training.precision == "bf16",
        use_cpu=not cuda,
        save_strategy="no" if training.save_every is None else "steps",
        save_steps=training.save_every or 500,
        save_total_limit=training.keep,
        logging_steps=min(training.log_every, max(1, steps)),
        disable_tqdm=not (progress and sys.stderr.isatty()),
        dataloader_pin_memory=cuda,
        remove_unused_columns=False,
        report_to=[],
        seed=training.seed,
    )
    # one process on one device: other GPUs are left alone
    if arguments.n_gpu > 1:
        arguments._n_gpu = 1  # noqa: SLF001 - there is no public way
    return arguments
