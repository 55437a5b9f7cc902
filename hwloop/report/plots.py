"""Pictures of fronts, drawn from the numbers in `hwloop.report.result`, and what pictures have in common."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwloop.errors import DataError
from hwloop.report.result import Front
from hwloop.report.tables import energy_text, percent, size_text
from hwloop.units import UM2_PER_MM2

# Okabe and Ito's colours, told apart by colour-blind readers; markers say the same once more.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")
INK, GREY = "#222222", "#8a8a8a"
_BELOW_KNEE = 4.0  # points of accuracy shown below the lowest knee
_AXES = {
    "accuracy": ("validation accuracy [%]", 100.0),
    "energy_pj": ("energy per image [uJ]", 1e-6),
    "cycles": ("latency [thousand cycles]", 1e-3),
    "edp": ("energy-delay product [uJ x thousand cycles]", 1e-9),
    "size_bits": ("model size [kB]", 1 / 8e3),
    "macs": ("effectual multiply-accumulates [million]", 1e-6),
    "area_um2": ("area of the components [mm2]", 1 / UM2_PER_MM2),
}


def plot_fronts(fronts: Sequence[Front], path: str | Path, title: str = "") -> Path:
    """Draws the fronts: the searched pair of objectives on the left, accuracy against another cost on the right.

    The dense reference is a hollow marker, the knee a star, everything evaluated a faint cloud.

    Args:
        fronts: at least one, of the same objectives.
        path: a PNG, PDF or SVG file.
        title: above the picture.

    Raises:
        DataError: the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        figure, axes = pyplot.subplots(1, 2, figsize=(11.5, 5.2), layout="constrained", width_ratios=(1.35, 1))
        for axis, (x, y) in zip(axes, _pairs(fronts[0].objectives), strict=True):
            for i, front in enumerate(fronts):
                _draw_front(axis, front, x, y, i)
            _finish(axis, fronts, x, y)
        _key(figure, fronts)
        if title:
            figure.suptitle(title, x=0.01, ha="left", fontsize=12.5, fontweight="bold", color=INK)
        save(figure, Path(path))
        pyplot.close(figure)
    return Path(path)


STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
}


def _pairs(objectives: Sequence[str]) -> tuple[tuple[str, str], tuple[str, str]]:
    """(x, y) of the two panels: costs on x, accuracy on y where it is an objective."""
    y = "accuracy" if "accuracy" in objectives else objectives[-1]
    costs = [o for o in objectives if o != y] or ["energy_pj"]
    others = [*costs[1:], *(m for m in ("size_bits", "energy_pj", "cycles") if m not in costs and m != y)]
    return (costs[0], y), (others[0], y)


def _draw_front(axis: Any, front: Front, x: str, y: str, i: int) -> None:
    colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
    (_, sx), (_, sy) = _AXES[x], _AXES[y]
    cloud = [entry for entry in front.cloud if x in entry and y in entry]
    axis.scatter(
        [e[x] * sx for e in cloud], [e[y] * sy for e in cloud], s=7, color=colour, alpha=0.13, linewidths=0, rasterized=True
    )
    members = sorted(front.members, key=lambda m: m.metrics[x])
    xs, ys = [m.metrics[x] * sx for m in members], [m.metrics[y] * sy for m in members]
    axis.plot(xs, ys, marker, color=colour, markersize=5, zorder=3)
    if len(front.objectives) == 2 and {x, y} == set(front.objectives):
        axis.step(xs, ys, where="post", color=colour, linewidth=1.4, alpha=0.85, zorder=2)
    reference = front.reference.metrics
    axis.plot(
        reference[x] * sx, reference[y] * sy, marker, markersize=9, markerfacecolor="white", markeredgecolor=colour,
        markeredgewidth=1.6, zorder=4,
    )  # fmt: skip
    bend = front.knee()
    if bend is not None:
        axis.plot(bend.metrics[x] * sx, bend.metrics[y] * sy, "*", markersize=15, color=colour, markeredgecolor="white", zorder=5)


def _key(figure: Any, fronts: Sequence[Front]) -> None:
    """One line a front below the panels, with its knee in words."""
    from matplotlib.lines import Line2D

    handles = []
    for i, front in enumerate(fronts):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=6, label=f"{front.target}{_knee_text(front)}"))
    marks: dict[str, Any] = {"markeredgecolor": GREY, "color": GREY, "linestyle": "none"}
    handles.append(
        Line2D([], [], marker="o", markerfacecolor="white", markersize=8, label="hollow: the dense reference", **marks)
    )
    handles.append(Line2D([], [], marker="*", markersize=11, label="star: the knee; faint: everything evaluated", **marks))
    figure.legend(handles=handles, loc="outside lower left", ncols=2 if len(handles) > 3 else 1, frameon=False, fontsize=9)


def _knee_text(front: Front) -> str:
    bend = front.knee()
    if bend is None:
        return ": no member"
    return (
        f": knee at {percent(bend.metrics['accuracy'], 1)}, {percent(bend.pruned, 0)} pruned, {bend.mean_bits:.1f} bits, "
        f"{energy_text(bend.metrics['energy_pj'])} ({front.factor(bend):.1f}x less), {size_text(bend.metrics['size_bits'])}"
    )


def _finish(axis: Any, fronts: Sequence[Front], x: str, y: str) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_xlabel(_AXES[x][0])
    axis.set_ylabel(_AXES[y][0])
    shown = [m for front in fronts for m in (*front.members, front.reference)]
    values = [m.metrics[x] * _AXES[x][1] for m in shown]
    if max(values) > 8 * min(values) > 0:
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.xaxis.set_minor_formatter(NullFormatter())
    heights = [m.metrics[y] * _AXES[y][1] for m in shown]
    if y == "accuracy":  # far below the knees there is nothing of interest
        top = max(heights)
        bends = [bend.metrics[y] * _AXES[y][1] for front in fronts if (bend := front.knee()) is not None]
        references = [front.reference.metrics[y] * _AXES[y][1] for front in fronts]
        floor = max(min(heights), min(*bends, *references) - _BELOW_KNEE if bends else min(references))
        low = floor - 0.08 * (top - floor + 1)
        axis.set_ylim(low, top + 0.06 * (top - floor + 1))
        hidden = sum(height < low for height in heights)
        if hidden:
            axis.annotate(
                f"{hidden} of the fronts' members below",
                (1, 0.015),
                xycoords="axes fraction",
                ha="right",
                fontsize=8,
                color=GREY,
            )


def save(figure: Any, path: Path) -> None:
    """Writes a picture, with its folder.

    Raises:
        DataError: the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160)
    except OSError as error:
        raise DataError(f"cannot write the plot {path} ({error.strerror or error}); the numbers are kept") from error
