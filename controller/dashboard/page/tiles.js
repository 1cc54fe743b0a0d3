// The figures on top of the page.

import { count, make, number, percent } from "./text.js";

const TILES = [
  ["delivered", "delivered of requested"], ["bound", "of the upper bound"], ["fidelity", "measured fidelity"],
  ["contention", "contention"], ["stored", "pairs in memory"], ["epsilon", "epsilon spent"],
];

export class Tiles {
  constructor(place) {
    this.values = {};
    for (const [name, label] of TILES) {
      this.values[name] = make("b", {}, "–");
      const more = make("small", { class: "soft" });
      this.values[`${name}-more`] = more;
      const tile = make("div", { class: "card tile" }, make("span", { class: "label" }, label), this.values[name], more);
      tile.dataset.tile = name;
      place.append(tile);
    }
  }

  set(name, value, more = "") {
    if (this.values[name].textContent !== value) this.values[name].textContent = value;
    const below = this.values[`${name}-more`];
    if (below.textContent !== more) below.textContent = more;
  }

  update(greeting, frame) {
    const { sums, series, rounds, now } = frame;
    const warm = now.told && now.slot <= greeting.warmup;
    this.set("delivered", sums.requested ? percent(sums.delivered / sums.requested) : "–",
      warm ? "warm-up does not count" : now.told ? `${count(sums.delivered)} of ${count(sums.requested)} pairs` : "not in this record");
    this.set("bound", sums.bound > 0 && sums.requested ? percent(sums.delivered / sums.bound) : "–",
      sums.bound > 0 ? `${count(sums.bound)} pairs in the whole run` : "");
    const newest = series.fidelity.findLast((f) => f);
    this.set("fidelity", newest ? number(newest[1], 3) : "–", newest ? `95 %: [${number(newest[0], 2)}, ${number(newest[2], 2)}], ${number(series.pooled_s, 0)} s` : "no pair tested yet");
    this.set("contention", now.told ? number(sums.contention, 4) : "–", "of resources × time");
    this.set("stored", now.told ? count(sums.stored) : "–", `${count(sums.executed)} executed, ${count(sums.failed)} failed`);
    const spent = rounds.findLast((r) => r[3] !== null);
    this.set("epsilon", spent ? number(spent[3], 2) : "–", rounds.length ? `${rounds.at(-1)[1]} federated rounds` : now.learns ? "no federated round yet" : "does not learn");
  }
}
