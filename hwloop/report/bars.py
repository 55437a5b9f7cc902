"""Stacked bars of where energy goes, by level and data space: a bar a case, or a bar a layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwloop.errors import SpecError
from hwloop.report.breakdown import Row, rows_of
from hwloop.report.case import Case, own_macs, units_used
from hwloop.report.comparison import case_names
from hwloop.report.plots import INK, STYLE, save
from hwloop.report.tables import component_text, energy_text
from hwloop.simulator.ledger import BETWEEN, LEAKAGE
from hwloop.units import PJ_PER_UJ

PICTURES = (".png", ".svg", ".pdf")
# A colour a level, of Okabe and Ito's, which colour-blind readers tell apart; its shade is the data space.
_HUES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_COMPUTE = "#6b6b6b"
_SHADES = {"Weights": 1.0, "Inputs": 0.66, "Outputs": 0.4, BETWEEN: 0.2, LEAKAGE: 0.12, "": 0.85}
_NAMES = {"": "operations"}
_LETTERS = {"Weights": "W", "Inputs": "I", "Outputs": "O", BETWEEN: "between", "": "mac"}
_LABELLED = 0.07  # parts of the longest bar that are large enough to be named in it
_MOST_LAYERS = 60  # bars that one picture of layers takes a case
Key = tuple[str, str]


def plot_cases(cases: Sequence[Case], path: str | Path, kind: str = "total") -> Path:
    """Draws the bars.

    Args:
        cases: at least one.
        path: a PNG, SVG or PDF file.
        kind: `total`: a bar a case, as energy for each of the network's own MACs, so that networks compare, with the use of the
            MAC units beside it; `layers`: a panel a case, a bar a layer.

    Raises:
        SpecError: another kind or ending.
        DataError: the file cannot be written.
    """
    if Path(path).suffix not in PICTURES:
        raise SpecError("<arguments>", str(path), f"a name that ends in {', '.join(PICTURES)}", Path(path).suffix)
    if kind not in ("total", "layers"):
        raise SpecError("<arguments>", "kind", "total or layers", kind)
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        figure = _totals(cases, pyplot) if kind == "total" else _layers(cases, pyplot)
        save(figure, Path(path))
        pyplot.close(figure)
    return Path(path)


def stacks(rows: Sequence[Row], by: str) -> dict[str, dict[Key, float]]:
    """Energy [pJ] by (component, data space) for each value of the column `by`, in the rows' order."""
    out: dict[str, dict[Key, float]] = {}
    for row in rows:
        parts = out.setdefault(row[by], {})
        key = (row["component"], row["data_space"])
        parts[key] = parts.get(key, 0.0) + row["energy_pj"]
    return out


def _totals(cases: Sequence[Case], pyplot: Any) -> Any:
    names = case_names(cases, networks=False)
    networks = list(dict.fromkeys(case.workload.name for case in cases))
    places, at = [], 0.0
    for i, case in enumerate(cases):
        at += 1.0 if i and case.workload.name == cases[i - 1].workload.name else 1.9 if i else 0.9
        places.append(at)
    figure, (energy, used) = pyplot.subplots(
        1, 2, figsize=(10, 1.7 + 0.36 * at), layout="constrained", width_ratios=(3.4, 1), sharey=True
    )
    found = [_sum(rows_of([case], "parts")) for case in cases]
    shares = [
        {key: value / own_macs(case.cost) for key, value in parts.items()} for case, parts in zip(cases, found, strict=True)
    ]
    keys = _ordered(found)
    _draw(energy, places, shares, keys, [energy_text(case.cost.energy_pj) for case in cases])
    energy.set_xlabel("energy for each of the layers' own MACs [pJ]; beside the bars: of one batch")
    energy.set_yticks(places, names)
    energy.invert_yaxis()
    for network in networks:
        first = min(place for place, case in zip(places, cases, strict=True) if case.workload.name == network)
        energy.annotate(
            network, (0, first - 0.62), xycoords=("axes fraction", "data"), fontweight="bold", color=INK, va="bottom",
            annotation_clip=False,
        )  # fmt: skip
    values = [100 * units_used(case.cost) for case in cases]
    used.barh(places, values, height=0.66, color="#b9b9b9")
    for place, value in zip(places, values, strict=True):
        used.annotate(
            f"{value:.0f}%", (value, place), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8, color=INK
        )
    used.set_xlim(0, 112)
    used.set_xticks((0, 50, 100))
    used.set_xlabel("MAC units' time used [%]")
    for axis in (energy, used):
        axis.grid(False, axis="y")
        axis.tick_params(axis="y", length=0)
    _key(figure, keys)
    return figure


def _layers(cases: Sequence[Case], pyplot: Any) -> Any:
    most = max(len(case.cost.shares) for case in cases)
    if most > _MOST_LAYERS:
        found = f"{most} layers and operations"
        raise SpecError(
            "<arguments>", "layers", f"at most {_MOST_LAYERS} in one picture", found, "take total, or the rows of layers"
        )
    figure, axes = pyplot.subplots(
        len(cases), 1, figsize=(max(7.0, 2.4 + 0.24 * most), 1.6 + 2.3 * len(cases)), layout="constrained", squeeze=False
    )
    by_case = [stacks(rows_of([case], "parts"), "layer") for case in cases]
    keys = _ordered([parts for layers in by_case for parts in layers.values()])
    networks = [case.workload.name for case in cases]
    tallest = [max(sum(parts.values()) for parts in layers.values()) / PJ_PER_UJ for layers in by_case]
    for i, (axis, case, name, layers) in enumerate(zip(axes[:, 0], cases, case_names(cases), by_case, strict=True)):
        bars = [{key: value / PJ_PER_UJ for key, value in parts.items()} for parts in layers.values()]
        _draw(axis, list(range(len(bars))), bars, keys, upright=True)
        network = "" if case.workload.name in name else f"{case.workload.name}, "
        axis.set_title(f"{network}{name}: {energy_text(case.cost.energy_pj)}", loc="left", fontsize=10, color=INK)
        axis.set_ylabel("energy [uJ]")
        last = i + 1 == len(cases) or networks[i + 1] != networks[i]  # the panels of a network share their names and scale
        axis.set_xticks(range(len(bars)), [_short(layer) for layer in layers] if last else [], rotation=90, fontsize=7)
        axis.set_xlim(-0.7, len(bars) - 0.3)
        axis.set_ylim(0, 1.04 * max(high for high, network in zip(tallest, networks, strict=True) if network == networks[i]))
        axis.grid(False, axis="x")
        axis.tick_params(axis="x", length=0)
    _key(figure, keys)
    return figure


def _draw(
    axis: Any, places: Sequence[float], bars: Sequence[Mapping[Key, float]], keys: Sequence[Key], ends: Sequence[str] = (),
    upright: bool = False,
) -> None:  # fmt: skip
    before = [0.0] * len(bars)
    longest = max(sum(parts.values()) for parts in bars)
    draw = axis.bar if upright else axis.barh
    side = {"width": 0.8} if upright else {"height": 0.66}
    start = "bottom" if upright else "left"
    colours = _colours(keys)
    for key in keys:
        values = [parts.get(key, 0.0) for parts in bars]
        draw(places, values, **side, **{start: before}, color=colours[key], edgecolor="white", linewidth=0.0 if upright else 0.6)
        for place, value, low in zip(places, values, before, strict=True):
            if not upright and value > _LABELLED * longest:
                text = f"{key[0]} {_NAMES.get(key[1], key[1])}" if value > 3 * _LABELLED * longest else _LETTERS.get(key[1], "")
                ink = "white" if _SHADES.get(key[1], 1.0) > 0.6 else INK
                axis.annotate(text, (low + value / 2, place), ha="center", va="center", fontsize=7.5, color=ink)
        before = [low + value for low, value in zip(before, values, strict=True)]
    for place, end, text in zip(places, before, ends, strict=False):
        axis.annotate(text, (end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5, color=INK)
    if ends:
        axis.set_xlim(0, 1.13 * longest)


def _key(figure: Any, keys: Sequence[Key]) -> None:
    from matplotlib.patches import Patch

    colours = _colours(keys)
    handles = [Patch(color=colours[key], label=f"{component_text(key[0])} {_NAMES.get(key[1], key[1])}".strip()) for key in keys]
    figure.legend(handles=handles, loc="outside lower left", ncols=4, frameon=False, fontsize=8)


def _colours(keys: Sequence[Key]) -> dict[Key, str]:
    from matplotlib.colors import to_hex, to_rgb

    levels = list(dict.fromkeys(component for component, _ in keys))
    out = {}
    for component, space in keys:
        hue = _HUES[levels.index(component) % len(_HUES)] if space else _COMPUTE
        base, shade = to_rgb(hue), _SHADES.get(space, 0.5)
        red, green, blue = (1 - shade * (1 - part) for part in base)
        out[component, space] = to_hex((red, green, blue))
    return out


def _ordered(stacked: Sequence[Mapping[Key, float]]) -> list[Key]:
    """Every key, levels in the order of first use, and of a level its data spaces together; what is never visible is left out."""
    totals: dict[Key, float] = {}
    for parts in stacked:
        for key, value in parts.items():
            totals[key] = max(totals.get(key, 0.0), value / max(sum(parts.values()), 1e-300))
    levels = list(dict.fromkeys(component for component, _ in totals))
    spaces = list(_SHADES)
    seen = [key for key, share in totals.items() if share >= 0.002]
    return sorted(seen, key=lambda key: (levels.index(key[0]), spaces.index(key[1]) if key[1] in spaces else len(spaces)))


def _sum(rows: Sequence[Row]) -> dict[Key, float]:
    out: dict[Key, float] = {}
    for row in rows:
        key = (row["component"], row["data_space"])
        out[key] = out.get(key, 0.0) + row["energy_pj"]
    return out


def _short(name: str) -> str:
    return name if len(name) <= 28 else f"..{name[-26:]}"
