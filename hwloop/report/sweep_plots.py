"""A sweep as a picture: energy over delay and over area, each accelerator a point, the Pareto set drawn out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hwloop.report.plots import COLOURS, GREY, INK, MARKERS, STYLE, save
from hwloop.report.sweeps import SweepResult, SweepRow

_MOST_QUESTIONS = 4  # lines of panels
_DELAYS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"))
_ENERGIES = ((1e9, "mJ"), (1e6, "uJ"), (1e3, "nJ"))


def plot_sweep(result: SweepResult, path: str | Path) -> Path:
    """Draws energy against delay, coloured by area, and energy against area, coloured by delay.

    Filled points with a dark edge are the Pareto set of energy, delay and area; faint ones are beaten in all three. The marker
    says the accelerator and its dataflow. One line of panels for each network with its bits and densities, for the first four.

    Args:
        result: the sweep.
        path: a PNG, SVG or PDF file.

    Raises:
        DataError: the file cannot be written.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    questions = list(dict.fromkeys(row.question for row in result.rows if row.energy_pj is not None))[:_MOST_QUESTIONS]
    with pyplot.rc_context(STYLE):
        lines = max(len(questions), 1)
        figure, grid = pyplot.subplots(lines, 2, figsize=(11.5, 0.9 + 4.4 * lines), layout="constrained", squeeze=False)
        for axes, question in zip(grid, questions, strict=False):
            chosen = [(row, kept) for row, kept in zip(result.rows, result.on_front, strict=True) if row.question == question]
            _draw(figure, axes, [pair for pair in chosen if pair[0].energy_pj is not None], _kinds(result.rows))
            axes[0].set_title(_question_text(question), loc="left", fontsize=11, fontweight="bold", color=INK)
        if not questions:
            grid[0][0].set_title("no accelerator runs any of the networks", loc="left", color=INK)
        _legend(figure, _kinds(result.rows))
        save(figure, Path(path))
        pyplot.close(figure)
    return Path(path)


def _kinds(rows: Sequence[SweepRow]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((row.arch, row.dataflow) for row in rows))


def _draw(figure: Any, axes: Any, chosen: Sequence[tuple[SweepRow, bool]], kinds: Sequence[tuple[str, str]]) -> None:
    energy = np.array([row.energy_pj for row, _ in chosen], float)
    delay = np.array([row.latency_s for row, _ in chosen], float)
    area = np.array([row.area_mm2 or 0.0 for row, _ in chosen], float)
    kept = np.array([best for _, best in chosen])
    kind = np.array([kinds.index((row.arch, row.dataflow)) for row, _ in chosen])
    e_scale, e_unit = _unit(energy, _ENERGIES)
    d_scale, d_unit = _unit(delay, _DELAYS)
    energy, delay = energy / e_scale, delay / d_scale
    panels = (
        (delay, f"delay [{d_unit}]", area, "area [mm2]"),
        (area, "area of the components [mm2]", delay, f"delay [{d_unit}]"),
    )
    for axis, (x, x_label, colour, colour_label) in zip(axes, panels, strict=True):
        log = colour.min() > 0 and colour.max() > 8 * colour.min()
        shades = np.log10(colour) if log else colour
        low, high = float(shades.min()), float(shades.max())
        for at in range(len(kinds)):
            for best in (False, True):
                here = (kind == at) & (kept == best)
                axis.scatter(
                    x[here], energy[here], c=shades[here], cmap="viridis", vmin=low, vmax=high if high > low else low + 1,
                    marker=MARKERS[at % len(MARKERS)], s=46 if best else 16, alpha=1.0 if best else 0.35,
                    edgecolors=INK if best else "none", linewidths=0.9 if best else 0, zorder=3 if best else 2,
                )  # fmt: skip
        bar = figure.colorbar(axis.collections[-1], ax=axis, pad=0.02, aspect=30)
        bar.set_label(colour_label)
        if log:
            bar.ax.yaxis.set_major_formatter(lambda value, _: f"{10**value:.3g}")
        bar.outline.set_visible(False)
        axis.set_xlabel(x_label)
        axis.set_ylabel(f"energy [{e_unit}]")
        _scale(axis.xaxis, axis.set_xscale, x)
        _scale(axis.yaxis, axis.set_yscale, energy)


def _scale(axis: Any, set_scale: Any, values: np.ndarray[Any, Any]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    if values.min() > 0 and values.max() > 5 * values.min():
        set_scale("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())


def _unit(values: np.ndarray[Any, Any], units: Sequence[tuple[float, str]]) -> tuple[float, str]:
    return next((pair for pair in units if float(np.median(values)) >= pair[0]), units[-1])


def _legend(figure: Any, kinds: Sequence[tuple[str, str]]) -> None:
    from matplotlib.lines import Line2D

    archs = len({arch for arch, _ in kinds})
    handles = []
    for at, (arch, flow) in enumerate(kinds):
        name = " ".join(word for word in (arch if archs > 1 or not flow else "", flow) if word)
        marker = MARKERS[at % len(MARKERS)]
        handles.append(Line2D([], [], marker=marker, linestyle="none", markersize=6, color=COLOURS[0], label=name))
    best: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 7, "markeredgecolor": INK, "color": GREY}
    handles.append(Line2D([], [], label="dark edge: no other needs less energy, delay and area; faint: beaten", **best))
    figure.legend(handles=handles, loc="outside lower left", ncols=min(len(handles), 4), frameon=False, fontsize=9)


def _question_text(question: tuple[Any, ...]) -> str:
    network, weight_bits, activation_bits, density, input_density = question
    parts = [str(network)]
    parts += [f"{bits}-bit {name}" for name, bits in (("weights", weight_bits), ("inputs", activation_bits)) if bits]
    parts += [f"density of {name} {value:g}" for name, value in (("weights", density), ("inputs", input_density)) if value != 1]
    return ", ".join(parts)
