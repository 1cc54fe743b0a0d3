// Which charts there are, and how a frame becomes their data.

import { Chart } from "./charts.js";
import { count, number } from "./text.js";

const SPECS = {
  delivery: {
    title: "Delivery against the bound", unit: "pairs that count, so far",
    keys: [{ name: "requested", label: "requested" }, { name: "delivered", label: "delivered" }],
  },
  demand: {
    title: "Demand and forecast", unit: "pairs per second",
    keys: [{ name: "asked", label: "asked for" }, { name: "forecast", label: "forecast" }],
  },
  served: {
    title: "Delivered and blocked", unit: "pairs per second",
    keys: [{ name: "delivered", label: "delivered" }, { name: "missed", label: "not in time" }],
  },
  fidelity: {
    title: "Measured fidelity", unit: "of assembled pairs, 95 % interval", range: [0.5, 1],
    keys: [{ name: "fidelity", label: "measured" }],
  },
  reward: {
    title: "Reward", unit: "per second, by measured trust",
    keys: [{ name: "reward", label: "all nodes" }],
  },
  privacy: {
    title: "Privacy loss", unit: "epsilon after each federated round",
    keys: [{ name: "epsilon", label: "spent", kind: "steps" }],
  },
};

export function makeCharts(place) {
  const charts = {};
  for (const [name, spec] of Object.entries(SPECS)) {
    charts[name] = new Chart(spec);
    charts[name].card.dataset.chart = name;
    place.append(charts[name].card);
  }
  return charts;
}

const last = (values) => values?.findLast((v) => Number.isFinite(v));

export function updateCharts(charts, greeting, frame) {
  const { series, now, sums, rounds } = frame;
  const reach = Math.max(1, frame.reach?.slot ?? now.slot) * now.slot_s;
  const whole = frame.status.state === "running" ? greeting.horizon * now.slot_s : reach;
  const end = Math.max(whole, 1);
  const here = now.slot < (frame.reach?.slot ?? now.slot) ? now.time_s : null;
  // The last bin is not over yet: its rate would fall to nothing and rise again.
  const open = here === null && frame.status.state !== "running" ? 0 : 1;
  const middle = (k) => Math.min((k + 0.5) * series.bin_s, end);
  const rate = (values) => values.slice(0, Math.max(0, values.length - open)).map((v, k) => [middle(k), v]).filter((p) => p[1] !== null);
  const sum = (values) => values.map((v, k) => [Math.min((k + 1) * series.bin_s, now.time_s), v]);
  const per = (values) => (Number.isFinite(last(values)) ? `${number(last(values), 1)}/s` : null);
  const base = { end, now: here };
  const told = now.told ? "nothing counted yet" : "not in this record";
  charts.delivery.update({
    ...base,
    lines: now.told ? { requested: sum(series.counted), delivered: sum(series.good) } : {},
    levels: sums.bound > 0 ? [{ name: "bound", label: "bound of the run", value: sums.bound }] : [],
    words: {
      requested: count(sums.requested), delivered: count(sums.delivered),
      bound: count(sums.bound ?? 0),
    },
    empty: told,
  });
  charts.demand.update({
    ...base,
    lines: { asked: now.told ? rate(series.asked) : [], forecast: rate(series.forecast) },
    words: { asked: per(series.asked.slice(0, -1)), forecast: per(series.forecast) },
    empty: told,
  });
  charts.served.update({
    ...base,
    lines: { delivered: rate(series.delivered), missed: now.told ? rate(series.blocked) : [] },
    words: { delivered: per(series.delivered.slice(0, -1)), missed: now.told ? per(series.blocked.slice(0, -1)) : null },
  });
  const measured = series.fidelity.map((f, k) => [middle(k), f]).filter((p) => p[1]);
  const newest = measured.at(-1)?.[1];
  charts.fidelity.update({
    ...base,
    lines: { fidelity: measured.map(([t, f]) => [t, f[1]]) },
    bands: { fidelity: measured.map(([t, f]) => [t, f[0], f[2]]) },
    words: { fidelity: newest ? `${number(newest[1], 3)} [${number(newest[0], 2)}, ${number(newest[2], 2)}] in ${number(series.pooled_s, 0)} s` : null },
    empty: "no pair tested yet",
  });
  const paid = series.reward.some((v) => v !== 0);
  charts.reward.update({
    ...base,
    lines: { reward: paid ? rate(series.reward) : [] },
    words: { reward: `${number(sums.reward, 1)} so far` },
    empty: now.learns ? "no reward yet" : "this run does not learn",
  });
  const spent = rounds.filter((r) => r[3] !== null).map((r) => [r[0], r[3]]);
  charts.privacy.update({
    ...base,
    lines: { epsilon: spent.length ? [[0, 0], ...spent, [Math.max(now.time_s, spent.at(-1)[0]), spent.at(-1)[1]]] : [] },
    levels: spent.length ? [{ name: "budget", label: "budget", value: greeting.run.epsilon }] : [],
    words: {
      epsilon: spent.length ? `${number(spent.at(-1)[1], 2)} after round ${rounds.at(-1)[1]}${rounds.at(-1)[2] ? `, ${rounds.at(-1)[2]} nodes missing` : ""}` : null,
      budget: number(greeting.run.epsilon, 1),
    },
    empty: rounds.length ? `${rounds.at(-1)[1]} rounds, epsilon is not known` : now.learns ? "no federated round yet" : "this run does not learn",
  });
}
