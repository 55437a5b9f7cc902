// The page of a compression run: one chosen target, network and layer, and everything else follows.
"use strict";
(() => {
  const { data, colour, escaped, axis, chart, fill, options, energy, count, percent, narrow } = hwloop;
  const PALETTE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8a8a8a", "#7b61c4", "#b3562b", "#4c9a8f"];
  const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "cross", "star"];
  const SPACES = { Weights: "#0072B2", Inputs: "#E69F00", Outputs: "#009E73", compute: "#CC79A7", leakage: "#8a8a8a" };
  const AXES = [
    ["energy_pj", "energy per image [uJ]", 1e-6], ["cycles", "latency [thousand cycles]", 1e-3],
    ["size_bits", "model size [kB]", 1 / 8e3], ["edp", "energy-delay product [uJ x thousand cycles]", 1e-9],
  ];
  const targets = data.targets;
  const best = (target) => {
    const at = target.members.findIndex((member) => member.best);
    return at >= 0 ? at : target.members.length > 1 ? 1 : 0;
  };
  const largest = (network) => network.layers.reduce((top, layer, at, all) => (layer.energy > all[top].energy ? at : top), 0);
  const state = { target: 0, member: 0, layer: 0, against: 0, parts: 0 };

  const target = () => targets[state.target];
  const network = () => target().members[state.member];

  function choose(change) {
    if ("target" in change && change.target !== state.target && !("member" in change)) change.member = best(targets[change.target]);
    Object.assign(state, change);
    const layers = network() ? network().layers : [];
    if (!("layer" in change) || state.layer >= layers.length) {
      if (state.layer >= layers.length || "member" in change) state.layer = Math.min(state.layer, Math.max(layers.length - 1, 0));
    }
    show();
  }

  function frontFigure() {
    const [metric, title, factor] = AXES[state.against];
    const traces = [];
    targets.forEach((each, at) => {
      const hue = PALETTE[at % PALETTE.length];
      const symbol = SYMBOLS[at % SYMBOLS.length];
      const chosen = at === state.target;
      const early = !each.members.length;
      traces.push({
        type: "scatter", mode: "markers", x: each.cloud[metric].map((v) => v * factor),
        y: each.cloud.accuracy.map((v) => 100 * v), marker: { color: hue, symbol, ...(early ? { size: 7, opacity: 0.8 } : { size: 4, opacity: chosen ? 0.35 : 0.1 }) },
        ...(early ? { hovertemplate: "%{y:.2f}% at %{x:.4g}<extra></extra>" } : { hoverinfo: "skip" }),
        showlegend: early, name: escaped(each.name),
      });
      if (early) return;
      const ordered = each.members.slice(1).map((m, k) => [m, k + 1]).sort((a, b) => a[0][metric] - b[0][metric]);
      traces.push({
        type: "scatter", mode: "lines+markers", name: escaped(each.name), x: ordered.map(([m]) => m[metric] * factor),
        y: ordered.map(([m]) => 100 * m.accuracy), text: ordered.map(([m]) => m.hover), hovertemplate: "%{text}<extra></extra>",
        customdata: ordered.map(([, k]) => [at, k]), opacity: chosen ? 1 : 0.55,
        line: { color: hue, width: chosen ? 2 : 1, shape: "linear" }, marker: { color: hue, size: chosen ? 9 : 6, symbol },
      });
      const dense = each.members[0];
      traces.push({
        type: "scatter", mode: "markers", x: [dense[metric] * factor], y: [100 * dense.accuracy], text: [dense.hover],
        hovertemplate: "%{text}<extra></extra>", customdata: [[at, 0]], showlegend: false, opacity: chosen ? 1 : 0.55,
        name: `${escaped(each.name)}, dense`, marker: { color: hue, size: 10, symbol: `${symbol}-open`, line: { width: 2 } },
      });
    });
    if (network()) {
      traces.push({
        type: "scatter", mode: "markers", x: [network()[metric] * factor], y: [100 * network().accuracy], hoverinfo: "skip",
        name: "chosen", marker: { color: "rgba(0,0,0,0)", size: 19, line: { color: colour("ink"), width: 2 } },
      });
    }
    // The cloud reaches down to chance; the view shows the fronts, and a drag or a double click the rest.
    const shown = targets.flatMap((each) => each.members.map((m) => 100 * m.accuracy));
    const low = Math.min(...shown), high = Math.max(...shown), room = Math.max((high - low) * 0.08, 0.2);
    return {
      traces,
      layout: {
        height: narrow.matches ? 440 : 480, hovermode: "closest", showlegend: true,
        xaxis: axis({ title: { text: `${title} (log scale)` }, type: "log", minor: { showgrid: true, gridcolor: colour("grid") } }),
        yaxis: axis({ title: { text: "validation accuracy [%]" }, ...(shown.length ? { range: [low - room, high + room] } : {}) }),
      },
    };
  }

  const partName = ([component, space]) => (state.parts ? component : space || "compute");

  function layersFigure() {
    const chosen = network();
    const names = chosen.layers.map((layer) => layer.name);
    const between = chosen.operations.reduce((sum, [, pj]) => sum + pj, 0);
    const sums = new Map();
    chosen.layers.forEach((layer, at) => {
      for (const part of layer.parts) {
        const name = partName(part);
        if (!sums.has(name)) sums.set(name, names.map(() => 0));
        sums.get(name)[at] += part[2];
      }
    });
    const rows = between ? [...names, "between layers"] : names;
    const [factor, unit] = scale(Math.max(...chosen.layers.map((layer) => layer.energy), between));
    const traces = [...sums].map(([name, values], at) => ({
      type: "bar", orientation: "h", name: escaped(name), y: names.map(escaped), x: values.map((v) => v * factor),
      customdata: names.map((_, k) => k), marker: { color: state.parts ? PALETTE[at % PALETTE.length] : SPACES[name] || PALETTE[at + 5] },
      hovertemplate: `%{y}: ${escaped(name)} %{x:.4g} ${unit}<extra></extra>`,
    }));
    if (between) {
      traces.push({
        type: "bar", orientation: "h", name: "between layers", y: ["between layers"], x: [between * factor],
        marker: { color: colour("soft") }, hovertemplate: `between layers: %{x:.4g} ${unit}<extra></extra>`,
      });
    }
    return {
      traces,
      layout: {
        barmode: "stack", bargap: 0.25, height: Math.max(260, 130 + 24 * rows.length), showlegend: true, hovermode: "closest",
        xaxis: axis({ title: { text: `energy [${unit}]` } }),
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, traceorder: "normal" },
        yaxis: axis({ categoryorder: "array", categoryarray: rows.map(escaped).reverse(), tickfont: { size: narrow.matches ? 10 : 12 } }),
      },
    };
  }

  function scale(most) {
    for (const [factor, unit] of [[1e-9, "mJ"], [1e-6, "uJ"], [1e-3, "nJ"]]) if (most * factor >= 1) return [factor, unit];
    return [1, "pJ"];
  }

  function showLayers() {
    const chosen = network();
    const dense = new Map(target().members[0].layers.map((layer) => [layer.name, layer.energy]));
    const total = chosen.energy_pj;
    document.getElementById("layers-of").textContent = `${target().name}, ${chosen.long}`;
    document.getElementById("resident").textContent = chosen.resident;
    const rows = chosen.layers.map((layer) => [
      layer.name, energy(layer.energy), percent(layer.energy / total),
      dense.has(layer.name) ? `${(dense.get(layer.name) / layer.energy).toFixed(1)}x` : "-", count(layer.cycles), percent(layer.used),
      String(layer.bits[0] ?? "-"), String(layer.bits[1] ?? "-"), percent(layer.density[0]), percent(layer.density[1]),
    ]);
    fill("layers-table", rows, { chosen: state.layer, onChoose: (at) => choose({ layer: at }) });
  }

  function showLayer() {
    const layers = network().layers;
    const layer = layers[state.layer];
    options("layer-choice", layers.map((each) => each.name), state.layer, (at) => choose({ layer: at }));
    const bits = layer.bits[0] || layer.bits[1] ? `, weights at ${layer.bits[0] ?? "their"} bits and inputs at ${layer.bits[1] ?? "their"} bits` : "";
    const stored = layer.bits[2] ? `, outputs wait at ${layer.bits[2]}` : "";
    document.getElementById("layer-about").textContent =
      `${layer.name}: ${target().problems[layer.problem]}${bits}${stored}; ${energy(layer.energy)}, ${count(layer.cycles)} cycles`;
    document.getElementById("nest").textContent = target().nests[layer.nest];
    fill("levels-table", layer.parts.map(([component, space, pj, instances, ...counts]) => [
      component, space || "compute", energy(pj), percent(pj / layer.energy), instances ? String(instances) : "",
      ...(counts.length ? counts.map(count) : ["", "", "", ""]),
    ]));
    for (const cell of document.querySelectorAll("#levels-table tbody td:nth-child(2)")) cell.className = "left";
    const table = target().tables[layer.table];
    const sources = [...new Set(table.map((row) => row[6] || "not said"))];
    fill("energy-table", table.map(([component, instances, action, pj, word, area, source]) => [
      component, action, pj.toPrecision(4), word === null ? "" : word.toPrecision(4), String(instances),
      area === null ? "" : area.toPrecision(4), `[${sources.indexOf(source || "not said") + 1}]`,
    ]));
    document.getElementById("sources").replaceChildren(...sources.map((text) => {
      const line = document.createElement("li");
      line.textContent = text;
      return line;
    }));
  }

  // The tables of the fronts were written by the program; here their first cells become buttons.
  const tables = [...document.querySelectorAll(".front-table")];
  const drawn = targets.map((each, at) => at).filter((at) => targets[at].members.length);
  tables.forEach((place, k) => {
    [...place.querySelectorAll("tbody tr")].forEach((row, member) => {
      const cell = row.cells[0];
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = cell.textContent;
      button.addEventListener("click", () => choose({ target: drawn[k], member }));
      cell.replaceChildren(button);
    });
  });

  function showFront() {
    const members = target().members;
    options("target", targets.map((each) => each.name), state.target, (at) => choose({ target: at }));
    options("member", members.map((each) => each.long), state.member, (at) => choose({ member: at }));
    document.getElementById("member").parentElement.hidden = !members.length;
    tables.forEach((place, k) => {
      if (drawn[k] === state.target) place.open = true;
      [...place.querySelectorAll("tbody tr")].forEach((row, member) => {
        row.className = drawn[k] === state.target && member === state.member ? "chosen" : "";
      });
    });
  }

  let drawFront = null;
  let drawLayers = null;
  function show() {
    showFront();
    drawFront?.();
    if (!document.getElementById("layers")) return;
    const known = Boolean(network()?.layers.length);
    for (const id of ["layers", "layer", "energies"]) document.getElementById(id).hidden = !known;
    if (!known) return;
    showLayers();
    showLayer();
    if (drawLayers) drawLayers();
    else drawLayers = chart("layers-chart", layersFigure, (point) => point.customdata !== undefined && choose({ layer: point.customdata }));
  }

  state.target = Math.max(targets.findIndex((each) => each.members.length), 0);
  state.member = target().members.length ? best(target()) : 0;
  state.layer = network() && network().layers.length ? largest(network()) : 0;
  options("against", AXES.map(([, title]) => title), 0, (at) => choose({ against: at }));
  if (document.getElementById("parts")) options("parts", ["by data", "by level"], 0, (at) => choose({ parts: at }));
  show();
  drawFront = chart("front-chart", frontFigure, (point) => point.customdata && choose({ target: point.customdata[0], member: point.customdata[1] }));
})();
