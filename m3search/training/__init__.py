"""Training: fine-tuning of M3 models, hard negatives, and the heads of the embedded encoder.

Owns everything that happens before an encoder is used; nothing that searches imports it. Imports all rooms below the
command line: it measures and mines with an index. Invariant: nothing here is loaded before it is asked for, and the same
files, settings and seed give the same batches.
"""

from m3search.training.examples import Example, ExampleSet, read_examples, read_sets, write_examples
from m3search.training.fit import Trained, Training, fit

__all__ = ["Example", "ExampleSet", "Trained", "Training", "fit", "read_examples", "read_sets", "write_examples"]
