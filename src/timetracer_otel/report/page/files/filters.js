// Which lines are shown: by kind, by what stands in them, by what went wrong.

export const KIND_NAMES = { http: "HTTP", sql: "Database", redis: "Redis", other: "Other", log: "Log" };

export function newFilter() {
  return { text: "", hidden: new Set(), onlyFailed: false, onlyChanged: false };
}

function isTrouble(row) {
  return row.failed || row.state === "observed" || row.state === "lost" || row.state === "unused" || row.kind === "live";
}

// All that stands in a line, in lower case. It is made once, when somebody searches.
function everything(row) {
  row.everything ??= [row.number, row.name, row.status, row.state ?? "", JSON.stringify(row.event ?? row.log ?? ""), JSON.stringify(row.was ?? "")]
    .join(" ").toLowerCase();
  return row.everything;
}

function matches(row, filter, words) {
  if (filter.hidden.has(row.kind)) return false;
  if (filter.onlyFailed && !isTrouble(row)) return false;
  if (filter.onlyChanged && !row.change) return false;
  return words.every((word) => everything(row).includes(word));
}

// The lines that match, with those above them in the tree.
export function filtered(rows, filter) {
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean);
  const selects = words.length > 0 || filter.onlyFailed || filter.onlyChanged;
  const shown = [];
  const above = [];
  for (const row of rows) {
    above.length = Math.min(above.length, row.depth);
    const isGroup = row.kind === "span";
    if (row.kind === "root" || (isGroup ? !selects && !filter.hidden.size : matches(row, filter, words))) {
      for (const parent of above) {
        if (parent && !parent.isShown) {
          parent.isShown = true;
          shown.push(parent);
        }
      }
      row.isShown = true;
      shown.push(row);
    } else row.isShown = false;
    above[row.depth] = row;
  }
  return shown;
}
