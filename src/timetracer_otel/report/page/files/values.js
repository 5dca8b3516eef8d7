// A value of a call, as the JSON of `timetracer-otel show --json` has it.
import { el } from "./dom.js";
import { marked } from "./highlight.js";

// One line that stands for a value: of bytes their text, of a typed value its text.
export function plain(value) {
  if (value === null || value === undefined) return "NULL";
  if (typeof value !== "object") return String(value);
  const names = Object.keys(value);
  if (names.length === 1 && typeof value.text === "string") return value.text;
  if (names.length === 1 && typeof value.base64 === "string") return `base64 ${value.base64}`;
  if (names.length === 2 && "type" in value && "value" in value && typeof value.value !== "object") return value.value;
  return JSON.stringify(value);
}

export function isPlain(value) {
  return value === null || typeof value !== "object" || plain(value) !== JSON.stringify(value);
}

// A value with its parts below it. Long ones can be closed.
export function valueTree(value, depth = 0) {
  if (isPlain(value)) return el("span", { class: valueClass(value) }, marked(plain(value)));
  const entries = Array.isArray(value) ? value.map((item, at) => [at, item]) : Object.entries(value);
  if (!entries.length) return el("span", { class: "value" }, Array.isArray(value) ? "[]" : "{}");
  const list = el("dl", { class: "tree" });
  for (const [name, item] of entries) {
    list.append(el("dt", {}, marked(name)), el("dd", {}, valueTree(item, depth + 1)));
  }
  if (depth < 2 && entries.length <= 50) return list;
  const closed = el("details", {}, el("summary", {}, Array.isArray(value) ? `${entries.length} items` : `${entries.length} fields`));
  closed.append(list);
  return closed;
}

export function valueClass(value) {
  if (value === null) return "value none";
  if (typeof value === "number" || typeof value === "boolean" || value?.type === "Decimal") return "value number";
  return "value";
}

// Rows below their columns.
export function valueTable(columns, rows) {
  const head = el("tr", {}, columns.map((name) => el("th", { scope: "col" }, marked(name))));
  const body = rows.map((row) =>
    Array.isArray(row)
      ? el("tr", {}, row.map((item) => el("td", { class: valueClass(item) }, marked(plain(item)))))
      : el("tr", {}, el("td", { colspan: columns.length }, marked(plain(row)))),
  );
  return el("div", { class: "scrolls" }, el("table", { class: "rows" }, el("thead", {}, head), el("tbody", {}, body)));
}
