// A frame and the difference that the server sends to it. Pure: neither is changed.

/** Sections that come row by row, as {rows: {number: row}, size}. */
function patchRows(old, change) {
  if (!change || Array.isArray(change)) return change;
  const rows = old.slice(0, change.size);
  for (const [k, row] of Object.entries(change.rows)) rows[Number(k)] = row;
  return rows;
}

/** Series come as their ends, as {from, columns}. */
function patchSeries(old, change) {
  if (!change || !("from" in change)) return change;
  const merged = { ...old };
  for (const [name, tail] of Object.entries(change.columns)) {
    merged[name] = old[name].slice(0, change.from).concat(tail);
  }
  return merged;
}

export function merge(frame, change) {
  const next = { ...frame };
  for (const [name, value] of Object.entries(change)) {
    if (name === "series") next.series = patchSeries(frame.series, value);
    else if (["links", "nodes", "pairs"].includes(name)) next[name] = patchRows(frame[name], value);
    else next[name] = value;
  }
  return next;
}
