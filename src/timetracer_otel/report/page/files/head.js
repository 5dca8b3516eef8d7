// What stands above the list: what was recorded, the search, the filters.
import { el } from "./dom.js";
import { KIND_NAMES } from "./filters.js";
import { counted, duration } from "./text.js";
import { currentTheme, nextTheme } from "./theme.js";

export function titleLine(data) {
  const after = data.view === "comparison" ? data.after : data;
  const parts = [el("h1", {}, data.title)];
  if (after.status) parts.push(el("span", { class: `answer ${after.failed || after.status >= 400 ? "failed" : ""}` }, String(after.status)));
  if (data.view === "comparison") {
    const kinds = new Map();
    for (const change of data.comparison.calls) kinds.set(change.kind, (kinds.get(change.kind) ?? 0) + 1);
    const told = [...kinds].map(([kind, number]) => `${number} ${kind}`);
    if (data.comparison.answer.length) told.unshift("another answer");
    parts.push(el("span", { class: "told" }, told.join(", ") || "no difference"));
  } else {
    const told = [duration(data.took_ms), counted(data.events.length, "call")];
    if (data.logs.length) told.push(counted(data.logs.length, "log record"));
    if (!data.complete) told.push("recovered: the recorder died");
    parts.push(el("span", { class: "told" }, told.join(" · ")));
    if (data.account) parts.push(accountOf(data.account));
  }
  return el("div", { class: "title" }, parts);
}

function accountOf(account) {
  const live = Object.values(account.live).reduce((sum, number) => sum + number, 0);
  const told = [
    ["hit", account.hits], ["missed", account.misses.length], ["unused", account.unused], ["live", live], ["blocked", account.blocked.length],
    ["bound", account.bindings.length],
  ].filter(([name, number]) => number || name === "hit" || name === "missed");
  return el("span", { class: "account" }, told.map(([name, number]) => el("span", { class: `change ${number ? name : ""}` }, `${number} ${name}`)));
}

export function toolbar(rows, filter, isComparison, changed) {
  const search = el("input", {
    type: "search", placeholder: "Search calls, statements, bodies …  ( / )", "aria-label": "search", spellcheck: "false",
    oninput: () => {
      filter.text = search.value;
      changed();
    },
  });
  const numbers = new Map();
  for (const row of rows) numbers.set(row.kind, (numbers.get(row.kind) ?? 0) + 1);
  const chips = Object.entries(KIND_NAMES).filter(([kind]) => numbers.has(kind)).map(([kind, name]) =>
    toggle(`${name} ${numbers.get(kind)}`, true, (isOn) => {
      if (isOn) filter.hidden.delete(kind);
      else filter.hidden.add(kind);
      changed();
    }, kind));
  chips.push(toggle("Trouble", false, (isOn) => {
    filter.onlyFailed = isOn;
    changed();
  }, "trouble"));
  if (isComparison) chips.push(toggle("Changed", false, (isOn) => {
    filter.onlyChanged = isOn;
    changed();
  }, "changed"));
  const theme = el("button", { type: "button", class: "theme", title: "dark or light ( t )", onclick: () => changeTheme(theme) }, themeName());
  return { search, theme, bar: el("div", { class: "toolbar" }, search, el("div", { class: "chips" }, chips), theme) };
}

export function changeTheme(button) {
  nextTheme();
  button.textContent = themeName();
}

function themeName() {
  return { system: "◐ system", light: "☀ light", dark: "☾ dark" }[currentTheme()];
}

function toggle(name, isOn, changed, kind) {
  const button = el("button", {
    type: "button", class: `chip ${kind}`, "aria-pressed": String(isOn),
    onclick: () => {
      const now = button.getAttribute("aria-pressed") !== "true";
      button.setAttribute("aria-pressed", String(now));
      changed(now);
    },
  }, el("span", { class: "kind" }), name);
  return button;
}
