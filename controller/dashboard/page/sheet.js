// A sheet: figures, charts, intervals and tables that the server says whole, whenever they changed.

import { Chart, ticks } from "./charts.js";
import { draw, make } from "./text.js";

const $ = (id) => document.getElementById(id);
const RETRY_MS = 1000;
const WIDEST = 720, RIGHT = 70, ROW = 26, FOOT = 26;

const page = { sheet: null, updates: 0, shown: null, charts: {}, tiles: {} };

function connect() {
  const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/stream`);
  socket.addEventListener("message", (event) => { page.sheet = JSON.parse(event.data); page.updates += 1; show(); });
  socket.addEventListener("open", () => notice(""));
  socket.addEventListener("close", () => {
    notice("The server of this page is gone. Trying again; if it was started anew, open the address that it printed.");
    $("status").dataset.state = "killed";
    setTimeout(connect, RETRY_MS);
  });
}

function say(place, words) {
  if (place.textContent !== words) place.textContent = words;
}

function notice(words) {
  $("notice").hidden = !words;
  say($("notice"), words);
}

function show() {
  const { sheet } = page;
  say($("title"), sheet.title);
  say($("subtitle"), sheet.subtitle);
  document.title = `${sheet.title} – DPEM`;
  $("status").dataset.state = sheet.state;
  say($("status"), sheet.state === "damaged" ? "Damaged" : sheet.word);
  notice(sheet.state === "damaged" ? sheet.word : "");
  showTiles(sheet.tiles);
  sheet.charts.forEach(showChart);
  showIntervals(sheet.intervals);
  showTables(sheet.tables);
}

function showTiles(tiles) {
  const names = tiles.map((tile) => tile.name).join();
  if (page.names !== names) {
    page.names = names;
    page.tiles = {};
    $("tiles").replaceChildren(...tiles.map(({ name }) => {
      const parts = { label: make("span", { class: "label" }), value: make("b"), more: make("small", { class: "soft" }) };
      page.tiles[name] = parts;
      const tile = make("div", { class: "card tile" }, parts.label, parts.value, parts.more);
      tile.dataset.tile = name;
      return tile;
    }));
  }
  for (const tile of tiles) for (const part of ["label", "value", "more"]) say(page.tiles[tile.name][part], tile[part]);
}

function showChart(spec) {
  const known = `${spec.title} ${JSON.stringify(spec.keys)}`;
  let chart = page.charts[spec.name];
  if (!chart || chart.known !== known) {
    const made = new Chart({ title: spec.title, unit: spec.unit, keys: spec.keys, range: spec.span, across: spec.across });
    made.known = known;
    made.card.dataset.chart = spec.name;
    if (chart) chart.card.replaceWith(made.card); else $("charts").append(made.card);
    page.charts[spec.name] = chart = made;
  }
  chart.update({ end: spec.end, now: null, lines: spec.lines, levels: spec.levels, words: spec.words, empty: spec.empty });
}

/** Intervals as a list of rows on one axis; the table beside says the same in numbers. */
function showIntervals(spec) {
  // As wide as there is room, so that letters are never smaller than elsewhere.
  const W = Math.max(260, Math.min(WIDEST, $("intervals").clientWidth));
  const LABEL = W < 500 ? 96 : 190;
  const letters = Math.floor(LABEL / 7);
  const words = `${W} ${JSON.stringify(spec)}`;
  if (words === page.intervals) return;
  page.intervals = words;
  say($("intervals-title"), spec.title);
  say($("intervals-unit"), spec.unit);
  say($("intervals-note"), spec.note);
  if (!spec.rows.length) { $("intervals").replaceChildren(make("p", { class: "soft" }, spec.empty)); return; }
  const ends = spec.rows.flatMap((row) => [row.low, row.best, row.high]).concat(spec.zero === null ? [] : [spec.zero]).filter(Number.isFinite);
  const room = 0.08 * (Math.max(...ends) - Math.min(...ends) || 1);
  const [low, high] = spec.span ?? [Math.min(...ends) - room, Math.max(...ends) + room];
  const tall = spec.rows.length * ROW;
  const x = (v) => LABEL + ((Math.min(high, Math.max(low, v)) - low) / (high - low)) * (W - LABEL - RIGHT);
  const svg = draw("svg", { viewBox: `0 0 ${W} ${tall + FOOT}`, role: "img", "aria-label": `${spec.title}, ${spec.unit}; the tables say the same in numbers.` });
  for (const v of ticks(low, high)) {
    svg.append(draw("line", { x1: x(v), x2: x(v), y1: 0, y2: tall, class: "grid" }), draw("text", { x: x(v), y: tall + 17, "text-anchor": "middle", class: "tick" }, `${+v.toPrecision(6)}`));
  }
  if (spec.zero !== null) svg.append(draw("line", { x1: x(spec.zero), x2: x(spec.zero), y1: 0, y2: tall, class: "level" }));
  spec.rows.forEach((row, k) => {
    const y = (k + 0.5) * ROW;
    svg.append(draw("text", { x: LABEL - 10, y: y + 4, "text-anchor": "end", class: "name" }, row.label.length > letters ? `${row.label.slice(0, letters - 1)}…` : row.label));
    if (row.low !== null) svg.append(draw("line", { x1: x(row.low), x2: x(row.high), y1: y, y2: y, class: "whisker" }));
    svg.append(draw("circle", { cx: x(row.best), cy: y, r: 4.5, class: "point" }), draw("text", { x: W - RIGHT + 8, y: y + 4, class: "tick" }, row.low === null ? `${row.best.toFixed(2)} (?)` : row.best.toFixed(spec.span ? 3 : 2)));
  });
  $("intervals").replaceChildren(svg);
}

function showTables(tables) {
  page.shown ??= tables[0].name;
  const names = tables.map((table) => table.name).join();
  if (page.tabs !== names) {
    page.tabs = names;
    $("tabs").replaceChildren(...tables.map(({ name, title }, k) => {
      const tab = make("button", { role: "tab", type: "button", id: `tab-${name}`, "aria-controls": "panel" }, title);
      tab.addEventListener("click", () => choose(name));
      tab.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        event.preventDefault();
        const next = tables[(k + by + tables.length) % tables.length].name;
        choose(next);
        $(`tab-${next}`).focus();
      });
      return tab;
    }));
    choose(page.shown);
    return;
  }
  fill();
}

function choose(name) {
  page.shown = name;
  page.table = "";
  for (const tab of $("tabs").children) {
    const chosen = tab.id === `tab-${name}`;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
  }
  $("panel").setAttribute("aria-labelledby", `tab-${name}`);
  fill();
}

function fill() {
  const table = page.sheet.tables.find(({ name }) => name === page.shown);
  const words = JSON.stringify(table);
  if (words === page.table) return;
  page.table = words;
  if (!table.rows.length) { $("panel").replaceChildren(make("p", { class: "soft" }, table.empty)); return; }
  const kinds = table.heads.map(([, number]) => (number ? "n" : null));
  const bare = table.heads.every(([text]) => !text);
  const body = make("tbody", {}, ...table.rows.map((row) => make("tr", {}, ...row.map((text, k) =>
    bare && k === 0 ? make("th", { scope: "row" }, text) : make("td", { class: kinds[k] }, text)))));
  const head = make("thead", {}, make("tr", {}, ...table.heads.map(([text], k) => make("th", { scope: "col", class: kinds[k] }, text))));
  const made = make("div", { class: "wide" }, make("table", {}, ...(bare ? [] : [head]), body));
  const top = $("panel").querySelector(".wide")?.scrollTop ?? 0;
  $("panel").replaceChildren(made);
  made.scrollTop = top;
}

window.addEventListener("resize", () => { if (page.sheet) showIntervals(page.sheet.intervals); });
connect();
// For tests and for people who look behind the page: what it has drawn.
Object.defineProperty(window, "dpem", { value: Object.freeze({ page }) });
