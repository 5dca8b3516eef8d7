// Puts the page together.
import { changeDetail, comparisonDetail, eventDetail, logDetail, refusalDetail, rootDetail } from "./detail.js";
import { el, replace } from "./dom.js";
import { filtered, newFilter } from "./filters.js";
import { changeTheme, titleLine, toolbar } from "./head.js";
import { learnValues } from "./highlight.js";
import { KEYS_TOLD, listenToKeys } from "./keys.js";
import { axisLine, List } from "./list.js";
import { comparisonRows, recordingRows } from "./rows.js";
import { restoreTheme } from "./theme.js";

const data = JSON.parse(document.getElementById("data").textContent);
const isComparison = data.view === "comparison";
const recording = isComparison ? data.after : data;
restoreTheme();
if (isComparison || data.account) document.body.classList.add("marks");
learnValues(isComparison ? [data.before, data.after] : [data]);

const rows = isComparison ? comparisonRows(data) : recordingRows(data);
const scaleMs = isComparison ? Math.max(data.before.scale_ms, data.after.scale_ms) : data.scale_ms;
const filter = newFilter();
const detail = el("aside", { class: "detail", tabindex: "-1", "aria-label": "detail" });
const count = el("span", { class: "count" });

function detailOf(row) {
  if (row.kind === "root") return isComparison ? comparisonDetail(data) : rootDetail(recording);
  if (isComparison && (row.event || row.was)) return changeDetail(row, data.before, data.after);
  if (row.event) return eventDetail(row.event, recording);
  if (row.log) return logDetail(row.log);
  if (row.kind === "span") return el("article", {}, el("h2", {}, row.name));
  return refusalDetail(row);
}

function choose(row) {
  document.body.classList.add("open");
  replace(detail, closer, detailOf(row));
  detail.scrollTop = 0;
}

function close() {
  document.body.classList.remove("open");
  list.later();
}

function update() {
  const shown = filtered(rows, filter);
  list.show(shown);
  const number = shown.filter((row) => row.number).length;
  count.textContent = `${number} of ${rows.filter((row) => row.number).length} calls`;
}

const closer = el("button", { type: "button", class: "closer", "aria-label": "close", onclick: close }, "×");
const list = new List(scaleMs, choose);
const bar = toolbar(rows, filter, isComparison, update);
document.body.append(
  el("header", {}, titleLine(data), bar.bar),
  el("main", {}, el("div", { class: "calls" }, axisLine(list), list.scroller), detail),
  el("footer", {}, count, el("span", {}, KEYS_TOLD)),
);
update();
listenToKeys({ list, search: bar.search, close, theme: () => changeTheme(bar.theme) });
list.go(0);
list.scroller.focus({ preventScroll: true });
