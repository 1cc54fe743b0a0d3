// Colours of the map. Viridis (S. van der Walt, N. Smith, matplotlib, CC0), cut so that every
// colour has a contrast of 3:1 to the panel behind it; better links are further from it.

const VIRIDIS = [
  [68, 1, 84], [72, 21, 103], [72, 38, 119], [69, 55, 129], [64, 71, 136], [57, 86, 140],
  [51, 99, 141], [45, 112, 142], [40, 125, 142], [35, 138, 141], [31, 150, 139], [32, 163, 135],
  [41, 175, 127], [60, 188, 117], [86, 198, 103], [116, 208, 85], [149, 216, 64], [184, 222, 41],
  [220, 227, 25], [253, 231, 37],
];
/** Where the ramp begins (worst) and ends (best), as places in viridis, by theme. */
const CUT = { dark: [0.36, 1.0], light: [0.54, 0.0] };
/** Fidelities at the ends of the ramp: half is what no entanglement can give. */
export const RANGE = [0.5, 1.0];

export const isDark = () => matchMedia("(prefers-color-scheme: dark)").matches;

function viridis(place) {
  const at = Math.min(1, Math.max(0, place)) * (VIRIDIS.length - 1);
  const k = Math.min(VIRIDIS.length - 2, Math.floor(at));
  return VIRIDIS[k].map((low, c) => Math.round(low + (VIRIDIS[k + 1][c] - low) * (at - k)));
}

/** The colour of a fidelity as [r, g, b], 0 to 255. */
export function shade(fidelity, dark = isDark()) {
  const [worst, best] = CUT[dark ? "dark" : "light"];
  const share = (fidelity - RANGE[0]) / (RANGE[1] - RANGE[0]);
  return viridis(worst + (best - worst) * Math.min(1, Math.max(0, share)));
}

export const css = ([r, g, b]) => `rgb(${r} ${g} ${b})`;

/** A colour of the style sheet by its name. */
export const named = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
