// Small charts over network time, as SVG. A chart is a list of lines and bands; a mark shows now.

import { draw, make } from "./text.js";

const W = 380, H = 196, LEFT = 44, RIGHT = 10, TOP = 8, BOTTOM = 24;

/** Round numbers between low and high, about four of them. */
export function ticks(low, high) {
  const span = high - low || 1;
  const rough = span / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * span; k++) found.push(k * step);
  return found;
}

const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  return `${+value.toPrecision(4)}`;
};

export class Chart {
  /** spec: {title, unit, keys: [{name, label, kind}], range, empty} with data given to update. */
  constructor(spec) {
    this.spec = spec;
    this.svg = draw("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": spec.title });
    this.values = make("p", { class: "key" });
    this.card = make(
      "figure", { class: "card chart" },
      make("figcaption", {}, make("h2", {}, spec.title), make("span", { class: "soft" }, spec.unit)),
      this.svg, this.values,
    );
    this.last = "";
  }

  /** data: {end, lines: {name: [[t, v]...]}, bands: {name: [[t, low, high]...]}, levels, now}. */
  update(data) {
    const words = JSON.stringify(data);
    if (words === this.last) return;
    this.last = words;
    const all = Object.values(data.lines).flat().map((p) => p[1])
      .concat(Object.values(data.bands ?? {}).flat().flatMap((p) => [p[1], p[2]]))
      .concat((data.levels ?? []).map((l) => l.value)).filter(Number.isFinite);
    this.svg.replaceChildren();
    this.values.replaceChildren();
    if (!Object.values(data.lines).some((line) => line.length)) {
      this.svg.append(draw("text", { x: W / 2, y: H / 2, class: "none", "text-anchor": "middle" }, data.empty ?? "nothing yet"));
      return;
    }
    const [floor, roof] = this.spec.range ?? [0, null];
    const high = roof ?? (Math.max(...all, 1e-9) * 1.06);
    const low = Math.min(floor, ...all.filter((v) => floor === 0 && v < 0));
    const x = (t) => LEFT + (t / (data.end || 1)) * (W - LEFT - RIGHT);
    const y = (v) => TOP + (1 - (Math.min(high, Math.max(low, v)) - low) / (high - low || 1)) * (H - TOP - BOTTOM);
    this.axes(low, high, data.end, x, y);
    for (const level of data.levels ?? []) {
      this.svg.append(draw("line", { x1: LEFT, x2: W - RIGHT, y1: y(level.value), y2: y(level.value), class: `level ${level.name}` }));
    }
    for (const [name, band] of Object.entries(data.bands ?? {})) {
      const up = band.map(([t, , v]) => `${x(t).toFixed(1)} ${y(v).toFixed(1)}`);
      const down = band.map(([t, v]) => `${x(t).toFixed(1)} ${y(v).toFixed(1)}`).reverse();
      if (up.length) this.svg.append(draw("path", { d: `M${[...up, ...down].join("L")}Z`, class: `band ${name}` }));
    }
    for (const { name, kind } of this.spec.keys) {
      const line = data.lines[name] ?? [];
      if (line.length) this.svg.append(draw("path", { d: path(line, x, y, kind), class: `curve ${name}` }));
    }
    if (data.now !== null && data.now < data.end) {
      this.svg.append(draw("line", { x1: x(data.now), x2: x(data.now), y1: TOP, y2: H - BOTTOM, class: "now" }));
    }
    this.key(data);
  }

  axes(low, high, end, x, y) {
    for (const v of ticks(low, high)) {
      this.svg.append(
        draw("line", { x1: LEFT, x2: W - RIGHT, y1: y(v), y2: y(v), class: "grid" }),
        draw("text", { x: LEFT - 6, y: y(v) + 3.5, "text-anchor": "end", class: "tick" }, short(v)),
      );
    }
    const marks = ticks(0, end);
    marks.forEach((t, k) => {
      const unit = k === marks.length - 1 ? this.spec.across ?? " s" : "";
      this.svg.append(draw("text", { x: x(t), y: H - 7, "text-anchor": k === marks.length - 1 && unit.length > 2 ? "end" : "middle", class: "tick" }, `${short(t)}${unit}`));
    });
  }

  key(data) {
    const entries = [...this.spec.keys, ...(data.levels ?? []).filter((l) => l.label)];
    for (const { name, label } of entries) {
      if (data.lines[name] && !data.lines[name].length) continue;
      const value = data.words?.[name];
      const swatch = draw("svg", { viewBox: "0 0 22 8", class: "swatch", "aria-hidden": "true" },
        draw("path", { d: "M1 4H21", class: `curve ${name}` }));
      this.values.append(make("span", {}, swatch, ` ${label}`, ...(value ? [" ", make("b", {}, value)] : [])));
    }
  }
}

function path(line, x, y, kind) {
  let d = "";
  line.forEach(([t, v], k) => {
    if (!Number.isFinite(v)) return;
    const open = k === 0 || !Number.isFinite(line[k - 1][1]);
    if (kind === "steps" && !open) d += `H${x(t).toFixed(1)}`;
    d += `${open ? "M" : "L"}${x(t).toFixed(1)} ${y(v).toFixed(1)}`;
  });
  return d || "M0 0";
}
