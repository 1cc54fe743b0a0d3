// The network on a canvas. Links are drawn in few strokes, by colour and width, so that thousands
// of them cost milliseconds.

import { css, isDark, named, shade } from "./colours.js";
import { listen } from "./pointing.js";
import { interval } from "./text.js";

const STEPS = 20;
const WIDTHS = [1.2, 2.2, 3.6];
const MARGIN = 26;
/** How near a pointer has to come, in pixels. */
const REACH = 12;

/** The more tests, the narrower the interval and the wider the line. */
export function widthOf([low, , high, shots]) {
  if (!shots) return -1;
  const spread = high - low;
  return spread > 0.5 ? 0 : spread > 0.25 ? 1 : 2;
}

export class NetworkMap {
  constructor(canvas, told) {
    this.canvas = canvas;
    this.told = told;
    this.network = null;
    this.frame = null;
    this.picked = null;
    this.view = { x: 0, y: 0, zoom: 1 };
    this.due = false;
    this.drawn = 0;
    new ResizeObserver(() => this.refresh()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.refresh());
    listen(this);
  }

  setNetwork(network) {
    this.network = network;
    const bound = (place) => {
      let [low, high] = [Infinity, -Infinity];
      for (const node of network.nodes) {
        low = Math.min(low, node[place]);
        high = Math.max(high, node[place]);
      }
      return [low, high];
    };
    this.box = { x: bound(1), y: bound(2) };
    this.picked = null;
    this.showAll();
  }

  setFrame(frame) {
    this.frame = frame;
    this.refresh();
  }

  refresh() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.place();
      this.draw();
    });
  }

  showAll() {
    this.view = { x: 0, y: 0, zoom: 1 };
    this.refresh();
  }

  /** Work out where nodes are on the screen. North is up. */
  place() {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const dots = window.devicePixelRatio || 1;
    if (this.canvas.width !== Math.round(w * dots) || this.canvas.height !== Math.round(h * dots)) {
      this.canvas.width = Math.round(w * dots);
      this.canvas.height = Math.round(h * dots);
    }
    if (!this.network || !w || !h) return;
    const spanX = this.box.x[1] - this.box.x[0];
    const spanY = this.box.y[1] - this.box.y[0];
    const scale = Math.min(
      (w - 2 * MARGIN) / (spanX || 1e-9), (h - 2 * MARGIN) / (spanY || 1e-9), 1e6,
    ) * this.view.zoom;
    const known = Number.isFinite(scale) && (spanX > 0 || spanY > 0);
    const midX = (this.box.x[0] + this.box.x[1]) / 2;
    const midY = (this.box.y[0] + this.box.y[1]) / 2;
    this.points = this.network.nodes.map(([, x, y]) => [
      w / 2 + (known ? (x - midX) * scale : 0) + this.view.x,
      h / 2 - (known ? (y - midY) * scale : 0) + this.view.y,
    ]);
  }

  draw() {
    const { canvas, network, frame, points } = this;
    const ctx = canvas.getContext("2d");
    const dots = window.devicePixelRatio || 1;
    ctx.setTransform(dots, 0, 0, dots, 0, 0);
    ctx.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    if (!network || !frame?.links || !points) return;
    this.drawLinks(ctx, frame.links);
    this.drawGlow(ctx, frame.glow ?? []);
    this.drawRequests(ctx, frame.requests ?? []);
    this.drawNodes(ctx, frame.nodes ?? []);
    this.drawPicked(ctx);
    this.drawn += 1;
  }

  line(ctx, link) {
    const [a, b] = this.network.links[link];
    ctx.moveTo(this.points[a][0], this.points[a][1]);
    ctx.lineTo(this.points[b][0], this.points[b][1]);
  }

  drawLinks(ctx, links) {
    const dark = isDark();
    const groups = new Map();
    links.forEach((measured, k) => {
      const width = widthOf(measured);
      const step = width < 0 ? 0 : Math.round(Math.max(0, (measured[1] - 0.5) * 2) * STEPS);
      const key = (width + 1) * 100 + step;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(k);
    });
    for (const key of [...groups.keys()].sort((a, b) => a - b)) {
      const width = Math.floor(key / 100) - 1;
      ctx.beginPath();
      for (const k of groups.get(key)) this.line(ctx, k);
      ctx.setLineDash(width < 0 ? [2, 4] : []);
      ctx.lineWidth = width < 0 ? 1 : WIDTHS[width];
      ctx.globalAlpha = width === 0 ? 0.7 : 1;
      ctx.strokeStyle = width < 0 ? named("line") : css(shade(0.5 + (key % 100) / STEPS / 2, dark));
      ctx.stroke();
    }
    ctx.setLineDash([]);
    ctx.globalAlpha = 1;
  }

  /** Paths along which pairs were delivered a moment ago. */
  drawGlow(ctx, paths) {
    ctx.beginPath();
    for (const path of paths) for (const link of path) this.line(ctx, link);
    ctx.lineCap = "round";
    ctx.globalAlpha = 0.35;
    ctx.lineWidth = this.network.nodes.length > 300 ? 5 : 9;
    ctx.strokeStyle = named("glow");
    ctx.stroke();
    ctx.globalAlpha = 1;
    ctx.lineCap = "butt";
  }

  /** Requests: a crossed square where the source was just blocked. */
  drawRequests(ctx, requests) {
    this.blocked = new Set();
    for (const [, source, , pairs, , , , good, fresh] of requests) {
      if (good !== null && good < pairs && fresh) this.blocked.add(source);
    }
    this.waiting = new Set(requests.filter((r) => r[7] === null).map((r) => r[1]));
  }

  drawNodes(ctx, nodes) {
    const most = Math.max(1, ...nodes.map((n) => n[0]));
    const size = this.network.nodes.length > 300 ? 2 : 3;
    // Looking up a style costs more than drawing a node.
    const [ink, card, forecast, waiting] = ["ink", "card", "forecast", "waiting"].map(named);
    ctx.lineWidth = 1.5;
    nodes.forEach(([asked, , soon], k) => {
      const [x, y] = this.points[k];
      const r = size + size * Math.sqrt(asked / most);
      if (soon > 0.2) {
        ctx.beginPath();
        ctx.arc(x, y, r + 2.5 + 2.2 * Math.sqrt(soon), 0, 2 * Math.PI);
        ctx.strokeStyle = forecast;
        ctx.stroke();
      }
      ctx.beginPath();
      ctx.arc(x, y, r, 0, 2 * Math.PI);
      ctx.fillStyle = this.waiting.has(k) ? waiting : ink;
      ctx.fill();
      ctx.strokeStyle = card;
      ctx.stroke();
    });
    ctx.strokeStyle = named("blocked");
    ctx.lineWidth = 2.4;
    for (const k of this.blocked) {
      const [x, y] = this.points[k];
      ctx.beginPath();
      for (const s of [1, -1]) { ctx.moveTo(x - 6, y - 6 * s); ctx.lineTo(x + 6, y + 6 * s); }
      ctx.stroke();
    }
    if (this.network.nodes.length <= 30 || this.view.zoom >= 3) this.drawNames(ctx);
  }

  drawNames(ctx) {
    ctx.font = "12px system-ui, sans-serif";
    ctx.fillStyle = named("ink");
    ctx.strokeStyle = named("card");
    ctx.lineWidth = 3;
    this.network.nodes.forEach(([name], k) => {
      const [x, y] = this.points[k];
      const right = x > this.canvas.clientWidth - 70;
      ctx.textAlign = right ? "right" : "left";
      ctx.strokeText(name, right ? x - 8 : x + 8, y - 9);
      ctx.fillText(name, right ? x - 8 : x + 8, y - 9);
    });
  }

  drawPicked(ctx) {
    if (!this.picked) return;
    ctx.strokeStyle = named("focus");
    ctx.lineWidth = 3;
    ctx.beginPath();
    if (this.picked.kind === "node") {
      ctx.arc(...this.points[this.picked.index], 11, 0, 2 * Math.PI);
    } else {
      this.line(ctx, this.picked.index);
      for (const end of this.network.links[this.picked.index].slice(0, 2)) {
        const [x, y] = this.points[end];
        ctx.moveTo(x + 8, y);
        ctx.arc(x, y, 8, 0, 2 * Math.PI);
      }
    }
    ctx.stroke();
  }

  /** What is known of what was picked, in words. */
  words() {
    const { picked, network, frame } = this;
    if (!picked || !network || !frame?.links) return null;
    const name = (k) => network.nodes[k][0];
    if (picked.kind === "link") {
      const [a, b, length, nominal] = network.links[picked.index];
      const seen = frame.links[picked.index];
      const tests = seen[3] === 1 ? "1 test" : `${seen[3]} tests`;
      const found = seen[3] ? `fidelity ${interval(seen)}, 95 % interval of ${tests}` : "no tests yet";
      return `Link ${name(a)} – ${name(b)}: ${found}; ${length.toFixed(1)} km, nominal ${nominal.toFixed(3)}.`;
    }
    const [asked, blocked, soon] = frame.nodes[picked.index];
    const ahead = soon === null ? "" : `, expects ${soon.toFixed(1)} more soon`;
    return `Node ${name(picked.index)}: asked for ${asked} pairs, ${blocked} of them not delivered in time${ahead}.`;
  }

  pick(kind, index) {
    this.picked = index === null ? null : { kind, index };
    this.refresh();
    this.told();
  }

  nearest(x, y) {
    let best = [REACH, "node", null];
    this.points.forEach(([px, py], k) => {
      const d = Math.hypot(px - x, py - y);
      if (d < best[0]) best = [d, "node", k];
    });
    if (best[2] !== null) return best;
    this.network.links.forEach(([a, b], k) => {
      const d = toSegment(x, y, this.points[a], this.points[b]);
      if (d < Math.min(best[0], 7)) best = [d, "link", k];
    });
    return best;
  }

  zoomBy(factor, x = this.canvas.clientWidth / 2, y = this.canvas.clientHeight / 2) {
    const zoom = Math.min(40, Math.max(1, this.view.zoom * factor));
    const real = zoom / this.view.zoom;
    const cx = this.canvas.clientWidth / 2;
    const cy = this.canvas.clientHeight / 2;
    this.view = zoom === 1 ? { x: 0, y: 0, zoom } : {
      zoom, x: x - cx - (x - cx - this.view.x) * real, y: y - cy - (y - cy - this.view.y) * real,
    };
    this.refresh();
  }

  step(kind, by) {
    const all = kind === "node" ? this.network.nodes.length : this.network.links.length;
    const at = this.picked?.kind === kind ? this.picked.index : by > 0 ? -1 : 0;
    if (all) this.pick(kind, (at + by + all) % all);
  }
}

function toSegment(x, y, [ax, ay], [bx, by]) {
  const [dx, dy] = [bx - ax, by - ay];
  const along = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(x - ax - along * dx, y - ay - along * dy);
}
