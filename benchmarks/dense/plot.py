"""Plot: for every collection recall against latency, a line per engine, and the size of the indexes as bars."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dense.targets import FLAT


def plot(record: Mapping[str, Any], path: Path) -> None:
    """Writes an SVG.

    Raises:
        ModuleNotFoundError: there is no matplotlib.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "m3search", "font.size": 9})
    from matplotlib import pyplot as plt

    collections = [one for one in record["collections"] if one["engines"]]
    names = list(dict.fromkeys(name for one in collections for name in one["engines"]))
    colours = dict(zip(names, plt.get_cmap("tab10").colors, strict=False))
    figure, axes = plt.subplots(
        len(collections),
        2,
        figsize=(11, 3.8 * len(collections)),
        squeeze=False,
        width_ratios=(3, 2),
        layout="constrained",
    )
    for collection, (left, right) in zip(collections, axes, strict=True):
        _recall(left, collection, colours)
        engines = collection["engines"]
        right.barh(list(engines), [row["bytes"] / 1e6 for row in engines.values()], color=[colours[n] for n in engines])
        right.invert_yaxis()
        right.set(xlabel="index, MB")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _recall(axis: Any, collection: Mapping[str, Any], colours: Mapping[str, Any]) -> None:
    for name, row in collection["engines"].items():
        points = [(one["median_ms"], 1 - one["recall"]) for one in row["efforts"].values()]
        times, missed = zip(*sorted(points), strict=True)
        floor = [max(one, 1e-4) for one in missed]
        ours = name.startswith("m3search")
        axis.plot(
            times, floor, label=name, color=colours[name], marker="o", markersize=3, linewidth=2.5 if ours else 1.2
        )
        if name == FLAT:
            axis.axvline(times[0], color=colours[name], linewidth=1, linestyle=":")
    axis.set(xscale="log", yscale="log", xlabel="median CPU ms a query", ylabel="recall@10")
    axis.set_title(f"{collection['passages']:,} vectors")
    ticks = [0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.001, 1e-4]
    axis.set_yticks(ticks, [f"{1 - tick:.4g}" for tick in ticks])
    axis.minorticks_off()
    axis.invert_yaxis()
    axis.grid(visible=True, which="major", linewidth=0.3)
    axis.legend(fontsize=7)
