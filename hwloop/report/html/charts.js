// What every kind of page needs: the page's data, colours that follow the scheme, charts that redraw themselves, tables.
"use strict";
const hwloop = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const narrow = window.matchMedia("(max-width: 40rem)");
  const drawings = [];
  document.documentElement.classList.add("js");

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const escaped = (text) => String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function axis(more) {
    const grid = colour("grid");
    return { gridcolor: grid, linecolor: colour("line"), zerolinecolor: grid, automargin: true, ...more };
  }

  // `make` gives {traces, layout}; the chart is drawn again when the colours or the width change.
  function chart(id, make, onClick) {
    const place = document.getElementById(id);
    const draw = () => {
      const { traces, layout } = make();
      const small = narrow.matches;
      const base = {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("ink"), size: small ? 11 : 13, family: "system-ui, sans-serif" },
        margin: { l: 8, r: 8, t: 12, b: 8 }, hoverlabel: { align: "left", bgcolor: colour("panel"), bordercolor: colour("line"),
        font: { color: colour("ink"), size: 12 } }, legend: { orientation: "h", y: -0.22, yanchor: "top", x: 0 },
      };
      Plotly.react(place, traces, { ...base, ...layout }, { responsive: true, displaylogo: false, displayModeBar: false });
    };
    draw();
    if (onClick) place.on("plotly_click", (event) => onClick(event.points[0]));
    drawings.push(draw);
    return draw;
  }

  for (const query of [dark, narrow]) query.addEventListener("change", () => drawings.forEach((draw) => draw()));

  function element(kind, text, name) {
    const made = document.createElement(kind);
    if (text !== undefined) made.textContent = text;
    if (name) made.className = name;
    return made;
  }

  // Rows of text into a table's body; the first cell is a button where `onChoose` is given.
  function fill(id, rows, { chosen = -1, onChoose = null } = {}) {
    const body = document.querySelector(`#${id} tbody`);
    const focused = body.contains(document.activeElement) ? [...body.querySelectorAll("button")].indexOf(document.activeElement) : -1;
    body.replaceChildren(...rows.map((cells, at) => {
      const row = element("tr", undefined, at === chosen ? "chosen" : "");
      cells.forEach((cell, column) => {
        const place = element(column ? "td" : "th", );
        if (!column) place.scope = "row";
        if (!column && onChoose) {
          const button = element("button", cell);
          button.type = "button";
          if (at === chosen) button.setAttribute("aria-current", "true");
          button.addEventListener("click", () => onChoose(at));
          place.append(button);
        } else place.textContent = cell;
        row.append(place);
      });
      return row;
    }));
    if (focused >= 0) body.querySelectorAll("button")[focused]?.focus();
  }

  function options(id, names, chosen, onChange) {
    const list = document.getElementById(id);
    list.replaceChildren(...names.map((name, at) => {
      const option = element("option", name);
      option.value = String(at);
      option.selected = at === chosen;
      return option;
    }));
    list.onchange = () => onChange(Number(list.value));
  }

  function three(value) {
    const size = Math.abs(value);
    return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(2);
  }
  function energy(pj) {
    for (const [factor, unit] of [[1e12, "J"], [1e9, "mJ"], [1e6, "uJ"], [1e3, "nJ"]])
      if (Math.abs(pj) >= factor) return `${three(pj / factor)} ${unit}`;
    return `${three(pj)} pJ`;
  }
  function count(value) {
    for (const [factor, unit] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(value) >= factor) return `${three(value / factor)} ${unit}`;
    return value.toFixed(0);
  }
  const percent = (part) => `${(100 * part).toFixed(1)}%`;

  return { data, colour, escaped, axis, chart, fill, options, energy, count, percent, dark, narrow };
})();
