// The tables below the map. Rows are made again only for the table that is shown.

import { count, interval, make, number, percent, seconds } from "./text.js";

const cell = (value, kind = null) => make("td", kind ? { class: kind } : {}, value);

function table(heads, rows, empty) {
  if (!rows.length) return make("p", { class: "soft none" }, empty);
  const head = make("tr", {}, ...heads.map(([name, kind]) => make("th", { scope: "col", class: kind ?? null }, name)));
  return make("div", { class: "wide" }, make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

/** A share as a bar with the number beside it. */
function bar(share) {
  const made = make("meter", { min: 0, max: 1, value: Number.isFinite(share) ? share.toFixed(3) : 0, "aria-label": "delivered in time" });
  return make("td", { class: "bar" }, made, ` ${percent(share)}`);
}

const STATES = {
  waiting: ["○", "waiting"], whole: ["●", "delivered"], part: ["◐", "partly"], blocked: ["✕", "blocked"],
};

function stateOf(pairs, received, good) {
  if (good === null) return "waiting";
  return good >= pairs ? "whole" : good > 0 ? "part" : "blocked";
}

function pairs(frame, name) {
  const rows = (frame.pairs ?? []).map(([a, b, asked, delivered, blocked, wanted, low, best, high, shots]) => {
    const over = delivered + blocked;
    return make(
      "tr", {}, cell(`${name(a)} → ${name(b)}`), cell(count(asked), "n"), cell(count(delivered), "n"),
      cell(count(blocked), blocked ? "n bad" : "n"), bar(over ? delivered / over : NaN),
      cell(number(wanted, 2), "n"), cell(interval([low, best, high, shots])), cell(count(shots), "n"),
    );
  });
  const heads = [["from → to"], ["asked", "n"], ["in time", "n"], ["blocked", "n"], ["share"], ["fidelity asked", "n"], ["measured [95 %]"], ["tests", "n"]];
  return table(heads, rows, frame.now?.told === false ? "The record of this run does not tell its requests." : "Nobody has asked for pairs yet.");
}

function requests(frame, name) {
  const rows = (frame.requests ?? []).map(([, a, b, wanted, fidelity, arrived, received, good]) => {
    const state = stateOf(wanted, received, good);
    return make(
      "tr", { class: state }, cell(seconds(arrived), "n"), cell(`${name(a)} → ${name(b)}`),
      cell(`${good ?? received} of ${wanted}`, "n"), cell(number(fidelity, 2), "n"),
      make("td", { class: "state" }, make("span", { "aria-hidden": "true" }, STATES[state][0]), ` ${STATES[state][1]}`),
    );
  });
  return table([["asked at", "n"], ["from → to"], ["pairs", "n"], ["fidelity asked", "n"], ["state"]], rows, "No requests yet.");
}

function links(frame, name, greeting) {
  const rows = (frame.links ?? []).map((measured, k) => [measured, k]).filter(([m]) => m[3]);
  rows.sort((x, y) => x[0][1] - y[0][1] || y[0][3] - x[0][3]);
  const told = frame.health?.calibration ?? {};
  const made = rows.slice(0, 100).map(([measured, k]) => {
    const [a, b, length] = greeting.network.links[k];
    return make("tr", {}, cell(`${name(a)} – ${name(b)}`), cell(interval(measured)), cell(count(measured[3]), "n"), cell(number(length, 1), "n"), cell(told[k] ?? ""));
  });
  const heads = [["link"], ["measured [95 %], worst first"], ["tests", "n"], ["length, km", "n"], ["calibration"]];
  return table(heads, made, "No link was tested yet.");
}

function instruments(frame, name, greeting) {
  const said = frame.instruments ?? {};
  const health = frame.health ?? {};
  const sums = frame.sums ?? {};
  const parts = [];
  const source = { sim: "a simulator", stub: "firmware stubs", real: "instruments" }[health.source] ?? "nothing yet";
  parts.push(make("p", {}, `Pairs come from ${source} (backend ${greeting.run.backend}): ${count(sums.executed ?? 0)} executed, ${count(sums.failed ?? 0)} failed.`));
  if (health.last_fault) parts.push(make("p", { class: "bad" }, `Last fault: ${health.last_fault}`));
  if (said.latched) parts.push(make("p", { class: "bad" }, `The rack is latched in its safe state: ${said.latched}`));
  if (said.detail) parts.push(make("p", { class: "soft" }, said.detail));
  if (said.running) parts.push(make("p", { class: "soft" }, `Mode ${said.mode}; the lease is ${said.holder ? `held by ${said.holder}` : "free"}; log: ${said.log || "ok"}.`));
  const rows = Object.entries(said.instruments ?? {}).map(([label, one]) => make(
    "tr", {}, cell(label), cell(one.kind), cell(one.address),
    cell(one.trouble ? `✕ ${one.trouble}` : "● ok", one.trouble ? "bad" : null), cell(one.read_back || ""),
  ));
  if (rows.length) parts.push(table([["instrument"], ["kind"], ["address"], ["state"], ["read back"]], rows, ""));
  else if (!greeting.measured) parts.push(make("p", { class: "soft" }, "This run has no instruments. A run with --backend lab shows those of its rack."));
  return make("div", {}, ...parts);
}

function facts(frame, name, greeting) {
  const run = greeting.run;
  const rows = [
    ["run folder", greeting.folder], ["allocator", run.allocator], ["network", `${greeting.network.name}, ${count(greeting.network.nodes.length)} nodes, ${count(greeting.network.links.length)} links`],
    ["demand", `${run.demand}${run.load_hz ? `, ${run.load_hz} pairs per second` : ""}`], ["backend", run.backend], ["preset", run.preset],
    ["network time", `${run.seconds} s that count, after ${(greeting.warmup * (frame.now?.slot_s ?? 0.02)).toFixed(0)} s of warm-up`], ["seed", `${run.seed}`], ["dpem", greeting.dpem],
  ].map(([a, b]) => make("tr", {}, make("th", { scope: "row" }, a), cell(`${b}`)));
  const parts = [make("div", { class: "wide" }, make("table", {}, make("tbody", {}, ...rows)))];
  const results = frame.results ?? {};
  if (results.rivals && Object.keys(results.rivals).length) {
    const all = [[run.allocator, results], ...Object.entries(results.rivals)];
    const made = all.map(([label, r]) => make("tr", {}, cell(label), cell(percent(r.delivery_rate), "n"), cell(percent(r.fraction_of_bound ?? NaN), "n"), cell(number(r.contention, 4), "n")));
    parts.push(make("h3", {}, "Beside its rivals, on the same draws"), table([["allocator"], ["delivered", "n"], ["of the bound", "n"], ["contention", "n"]], made, ""));
  }
  return make("div", {}, ...parts);
}

const TABLES = { pairs, requests, links, instruments, facts };

export class Tables {
  constructor(tabs, panel) {
    this.tabs = [...tabs.querySelectorAll("[role=tab]")];
    this.panel = panel;
    this.shown = "pairs";
    this.latest = null;
    // Hundreds of rows cost more than all the rest of the page: only while somebody can see them.
    this.seen = true;
    new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      if (this.seen && this.latest) this.update(...this.latest);
    }, { rootMargin: "200px" }).observe(panel);
    this.tabs.forEach((tab, k) => {
      tab.addEventListener("click", () => this.choose(k));
      tab.addEventListener("keydown", (event) => {
        const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (!by) return;
        event.preventDefault();
        const next = (k + by + this.tabs.length) % this.tabs.length;
        this.choose(next);
        this.tabs[next].focus();
      });
    });
  }

  choose(k) {
    this.tabs.forEach((tab, n) => {
      tab.setAttribute("aria-selected", String(n === k));
      tab.tabIndex = n === k ? 0 : -1;
    });
    this.shown = this.tabs[k].id.replace("tab-", "");
    this.panel.setAttribute("aria-labelledby", this.tabs[k].id);
    this.words = "";
    this.seen = true;
    if (this.latest) this.update(...this.latest);
  }

  update(frame, greeting) {
    this.latest = [frame, greeting];
    if (!greeting || (!this.seen && this.words)) return;
    const uses = { pairs: ["pairs", "now"], requests: ["requests"], links: ["links", "health"], instruments: ["instruments", "health", "sums"], facts: ["results", "status"] }[this.shown];
    const words = this.shown + JSON.stringify(uses.map((name) => (name === "now" ? frame.now?.told : frame[name])));
    if (words === this.words) return;
    this.words = words;
    const made = TABLES[this.shown](frame, (k) => greeting.network.nodes[k]?.[0] ?? `node ${k}`, greeting);
    const top = this.panel.querySelector(".wide")?.scrollTop ?? 0;
    this.panel.replaceChildren(made);
    const wide = this.panel.querySelector(".wide");
    if (wide) wide.scrollTop = top;
  }
}
