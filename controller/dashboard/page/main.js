// The page: one stream of differences comes in, wishes for another moment go out.

import { css, named, RANGE, shade } from "./colours.js";
import { makeCharts, updateCharts } from "./curves.js";
import { NetworkMap } from "./map.js";
import { merge } from "./merge.js";
import { Tables } from "./tables.js";
import { draw, make, seconds } from "./text.js";
import { Tiles } from "./tiles.js";

const $ = (id) => document.getElementById(id);
const RETRY_MS = 1000;
/** A finished run plays back so many times faster than its clock. */
const PLAY_SPEED = 2;
const PLAY_MS = 100;
const TABLES_MS = 500;

/** States whose word is long: it goes below the head of the page. */
const ENDS = { damaged: "Damaged", killed: "Killed", "broken off": "Broken off" };

const page = { greeting: null, frame: {}, live: true, wanted: null, waiting: false, playing: null, socket: null, updates: 0, tables: null, told: "", latched: false };
const map = new NetworkMap($("map"), () => showPicked());
const charts = makeCharts($("charts"));
const tables = new Tables($("tabs"), $("panel"));
const tiles = new Tiles($("tiles"));

function connect() {
  const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/stream`);
  page.socket = socket;
  socket.addEventListener("message", (event) => receive(JSON.parse(event.data)));
  socket.addEventListener("open", () => {
    // Whoever looked at a moment goes on looking at it.
    const at = page.live ? null : page.wanted ?? page.frame.now?.slot ?? null;
    page.frame = {};
    page.waiting = false;
    notice("");
    page.live = at === null;
    if (at !== null) ask(at);
  });
  socket.addEventListener("close", () => {
    notice("The server of this page is gone. Trying again; if it was started anew, open the address that it printed.");
    $("status").dataset.state = "killed";
    setTimeout(connect, RETRY_MS);
  });
}

function receive(message) {
  if (message.greeting) greet(message.greeting);
  page.frame = merge(page.frame, message.frame);
  page.updates += 1;
  page.waiting = false;
  show();
  // What was wished while another question was under way.
  if (page.live && !message.live) ask(null);
  else if (!page.live && page.wanted !== null) ask(page.wanted);
}

function greet(greeting) {
  page.greeting = greeting;
  const { run, network } = greeting;
  $("title").textContent = `${run.allocator} on ${network.name}`;
  $("subtitle").textContent = `${network.nodes.length} nodes, ${run.demand} demand, backend ${run.backend}, seed ${run.seed}`;
  document.title = `${run.allocator} on ${network.name} – DPEM`;
  map.setNetwork(network);
  $("empty").hidden = true;
}

function show() {
  const { frame, greeting } = page;
  const { state, word } = frame.status;
  $("status").dataset.state = state;
  const short = ENDS[state] ?? word;
  if ($("status").textContent !== short) $("status").textContent = short;
  notice([page.told, state in ENDS ? word : ""].filter(Boolean).join(" "));
  showControls();
  if (!greeting || !frame.now) {
    $("empty").textContent = word;
    return;
  }
  map.setFrame(frame);
  tiles.update(greeting, frame);
  updateCharts(charts, greeting, frame);
  showTables();
  showTime();
  showPicked();
}

/** Tables are read, not watched: twice a second is enough, and the last word always comes. */
function showTables() {
  if (page.tables) return;
  tables.update(page.frame, page.greeting);
  page.tables = setTimeout(() => {
    page.tables = null;
    tables.update(page.frame, page.greeting);
  }, TABLES_MS);
}

function notice(words) {
  const place = $("notice");
  place.hidden = !words;
  if (place.textContent !== words) place.textContent = words;
}

function showTime() {
  const { now, reach } = page.frame;
  const slider = $("time");
  slider.disabled = reach.slot === 0;
  slider.max = reach.slot;
  const at = page.live ? reach.slot : page.wanted ?? now.slot;
  if (document.activeElement !== slider || page.live || page.playing) slider.value = at;
  const words = `${seconds(now.time_s)} of ${seconds(reach.slot * now.slot_s)}`;
  slider.setAttribute("aria-valuetext", words);
  $("clock").textContent = words;
  $("live").setAttribute("aria-pressed", String(page.live));
  $("map-note").textContent = page.frame.status.state === "running" && page.live ? "" : `at ${seconds(now.time_s)}`;
}

function showPicked() {
  const words = map.words() ?? "Choose a node or a link, by pointer or with the arrow keys.";
  if ($("picked").textContent !== words) $("picked").textContent = words;
}

function showControls() {
  const offered = page.frame.controls ?? [];
  const mayStop = page.greeting?.role !== "observe";
  // What was said of a stop holds until the rack is armed again.
  if (page.told && !offered.includes("instruments")) page.latched = true;
  else if (page.latched) { page.latched = false; page.told = ""; }
  for (const [id, what] of [["stop-run", "run"], ["estop", "instruments"]]) {
    const button = $(id);
    button.hidden = !offered.includes(what);
    button.disabled = !mayStop;
    button.title = mayStop ? "" : "This address may watch only; the other one that dpem dashboard printed may stop.";
  }
}

/** Ask for a moment, or with null for the newest; one question at a time. */
function ask(slot) {
  page.live = slot === null;
  page.wanted = slot;
  if (page.waiting || page.socket?.readyState !== WebSocket.OPEN) return;
  page.waiting = true;
  page.socket.send(JSON.stringify({ at: slot }));
  if (slot !== null) page.wanted = null;
}

function seek(slot) {
  const reach = page.frame.reach?.slot ?? 0;
  const at = Math.max(0, Math.min(reach, Math.round(slot)));
  $("time").value = at;
  ask(at);
}

function play(on) {
  clearInterval(page.playing);
  page.playing = null;
  if (on && page.frame.now) {
    const slots = (PLAY_SPEED * PLAY_MS) / 1000 / page.frame.now.slot_s;
    if (page.live) seek(0);
    page.playing = setInterval(() => {
      if (page.waiting) return;
      const next = Number($("time").value) + slots;
      if (next >= page.frame.reach.slot) { play(false); ask(null); } else seek(next);
    }, PLAY_MS);
  }
  $("play").setAttribute("aria-pressed", String(page.playing !== null));
  $("play").textContent = page.playing ? "Pause" : "Play";
}

async function stop(what, reason) {
  let answer, said;
  try {
    answer = await fetch("/stop", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ what, reason }) });
    said = await answer.text();
  } catch {
    page.told = `Not stopped: the server of this page does not answer.${what === "instruments" ? " Use dpem lab estop." : ""}`;
    show();
    return;
  }
  if (!answer.ok) { page.told = `Not stopped: ${said}`; show(); return; }
  if (what === "instruments") {
    const done = JSON.parse(said);
    page.told = `Emergency stop: last command written after ${done.written_ms.toFixed(0)} ms; ${done.safe ? "all instruments were read back as safe" : "NOT all instruments could be read back as safe"}. The rack is latched until dpem lab rearm.`;
    show();
  }
}

function makeLegend() {
  const place = $("legend");
  place.replaceChildren();
  const steps = 40;
  const scale = draw("svg", { viewBox: "0 0 200 28", class: "scale", role: "img", "aria-label": "Colours of measured fidelity from 0.5 to 1" });
  for (let k = 0; k < steps; k++) {
    const f = RANGE[0] + ((RANGE[1] - RANGE[0]) * (k + 0.5)) / steps;
    scale.append(draw("rect", { x: (k * 200) / steps, y: 0, width: 200 / steps + 0.5, height: 12, fill: css(shade(f)) }));
  }
  for (const f of [0.5, 0.7, 0.8, 0.9, 1]) {
    const anchor = f === 0.5 ? "start" : f === 1 ? "end" : "middle";
    scale.append(draw("text", { x: (f - 0.5) * 400, y: 26, "text-anchor": anchor, class: "tick" }, f === 0.5 ? "≤ 0.5" : f.toFixed(1)));
  }
  const sample = (children) => draw("svg", { viewBox: "0 0 26 14", class: "sample", "aria-hidden": "true" }, ...children);
  const entry = (svg, words) => make("span", {}, svg, ` ${words}`);
  const line = (attributes) => draw("line", { x1: 1, x2: 25, y1: 7, y2: 7, stroke: css(shade(0.95)), ...attributes });
  const dot = (attributes) => draw("circle", { cx: 13, cy: 7, r: 4, ...attributes });
  place.append(
    make("div", {}, make("span", { class: "label" }, "measured fidelity of a link"), scale),
    make("div", { class: "entries" },
      entry(sample([line({ "stroke-width": 1.2 })]), "interval wider than 0.5"),
      entry(sample([line({ "stroke-width": 2.2 })]), "0.25 to 0.5"),
      entry(sample([line({ "stroke-width": 3.6 })]), "narrower"),
      entry(sample([line({ "stroke-width": 1, "stroke-dasharray": "2 4", stroke: named("soft") })]), "not tested yet"),
      entry(sample([line({ "stroke-width": 9, stroke: named("glow"), opacity: 0.35 })]), "pair delivered just now"),
      entry(sample([dot({ fill: named("ink") })]), "node, larger the more it asked"),
      entry(sample([dot({ fill: named("waiting") })]), "waits for pairs"),
      entry(sample([dot({ fill: "none", stroke: named("forecast"), "stroke-width": 1.5, r: 6 })]), "expects requests"),
      entry(sample([draw("path", { d: "M8 2 18 12M18 2 8 12", stroke: named("blocked"), "stroke-width": 2.4 })]), "blocked just now"),
    ),
  );
}

function wire() {
  $("time").addEventListener("input", (event) => { play(false); seek(Number(event.target.value)); });
  $("live").addEventListener("click", () => { play(false); ask(null); });
  $("play").addEventListener("click", () => play(page.playing === null));
  $("zoom-in").addEventListener("click", () => map.zoomBy(1.5));
  $("zoom-out").addEventListener("click", () => map.zoomBy(1 / 1.5));
  $("zoom-all").addEventListener("click", () => map.showAll());
  $("help-open").addEventListener("click", () => $("help").showModal());
  // An emergency stop asks nothing back.
  $("estop").addEventListener("click", () => stop("instruments", "emergency stop on the page"));
  $("stop-run").addEventListener("click", () => { $("ask").showModal(); $("reason").select(); });
  $("ask").addEventListener("close", () => {
    if ($("ask").returnValue === "yes") stop("run", $("reason").value.trim() || "stopped by hand");
    $("ask").returnValue = "";
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.target.matches("input:not([type=range]), textarea")) return;
    const act = {
      " ": () => play(page.playing === null), l: () => { play(false); ask(null); },
      m: () => $("map").focus(), "?": () => $("help").showModal(),
    }[event.key.toLowerCase()];
    if (!act || (event.key === " " && event.target.matches("button, [role=tab]"))) return;
    event.preventDefault();
    act();
  });
  $("time").addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 10, PageDown: -10 }[event.key];
    if (!by || !page.frame.now) return;
    event.preventDefault();
    play(false);
    seek(Number(event.target.value) + (by * 0.1) / page.frame.now.slot_s);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", makeLegend);
}

wire();
makeLegend();
connect();
// For tests and for people who look behind the page: what it has drawn.
Object.defineProperty(window, "dpem", { value: Object.freeze({ page, map }) });
