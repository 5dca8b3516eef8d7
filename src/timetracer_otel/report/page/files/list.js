// The list of lines. Only those on the screen are in the document, so that thousands of them scroll smoothly.
import { el } from "./dom.js";
import { duration, shown, size } from "./text.js";

const ROW_PX = 26;
const BEYOND = 12;

export class List {
  constructor(scaleMs, choose) {
    this.wholeMs = scaleMs > 0 ? scaleMs : 1;
    this.zoom = 1;
    this.fromMs = 0;
    this.choose = choose;
    this.axis = el("span", { class: "track" });
    this.rows = [];
    this.at = 0;
    this.chosen = undefined;
    this.drawn = new Map();
    this.space = el("div", { class: "space" });
    this.scroller = el("div", {
      class: "scroller", tabindex: "0", role: "listbox", "aria-label": "calls",
      onscroll: () => this.later(), onclick: (event) => this.clicked(event),
    }, this.space);
    new ResizeObserver(() => this.later()).observe(this.scroller);
  }

  show(rows) {
    this.rows = rows;
    // A line that a filter hides stays the chosen one, for when it is back.
    this.at = Math.max(0, rows.indexOf(this.chosen));
    this.space.style.height = `${rows.length * ROW_PX}px`;
    this.drawn.clear();
    this.space.replaceChildren();
    this.axis.replaceChildren(...ticks(this.fromMs, this.scaleMs));
    this.reveal();
    this.draw();
  }

  // Scroll as far as it takes to see the line.
  reveal() {
    const top = this.at * ROW_PX;
    const { scrollTop, clientHeight } = this.scroller;
    if (top < scrollTop) this.scroller.scrollTop = top;
    else if (top + ROW_PX > scrollTop + clientHeight) this.scroller.scrollTop = top + ROW_PX - clientHeight;
  }

  go(at) {
    if (!this.rows.length) return;
    this.at = Math.max(0, Math.min(this.rows.length - 1, at));
    this.chosen = this.rows[this.at];
    this.reveal();
    this.draw();
    this.choose(this.chosen);
  }

  // Show a part of the time around the chosen line.
  zoomBy(factor) {
    this.zoom = factor === 0 ? 1 : Math.max(1, Math.min(1e6, this.zoom * factor));
    const start = this.chosen?.start ?? 0;
    this.fromMs = Math.max(0, Math.min(this.wholeMs - this.scaleMs, start - this.scaleMs / 8));
    this.show(this.rows);
  }

  get scaleMs() {
    return this.wholeMs / this.zoom;
  }

  get page() {
    return Math.max(1, Math.floor(this.scroller.clientHeight / ROW_PX) - 1);
  }

  clicked(event) {
    const row = event.target.closest(".row");
    if (row) this.go(Number(row.dataset.at));
  }

  later() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      this.draw();
    });
  }

  draw() {
    const first = Math.max(0, Math.floor(this.scroller.scrollTop / ROW_PX) - BEYOND);
    const last = Math.min(this.rows.length, Math.ceil((this.scroller.scrollTop + this.scroller.clientHeight) / ROW_PX) + BEYOND);
    for (const [at, line] of this.drawn) {
      if (at < first || at >= last) {
        line.remove();
        this.drawn.delete(at);
      }
    }
    for (let at = first; at < last; at++) {
      if (!this.drawn.has(at)) {
        const line = this.line(this.rows[at], at);
        this.drawn.set(at, line);
        this.space.append(line);
      }
      this.drawn.get(at).setAttribute("aria-selected", String(this.rows[at] === this.chosen));
    }
    this.scroller.setAttribute("aria-activedescendant", `row-${this.at}`);
  }

  line(row, at) {
    const classes = ["row", row.kind, row.failed && "failed", row.warned && "warned", row.state, row.change].filter(Boolean);
    const line = el("div", {
      class: classes.join(" "), role: "option", id: `row-${at}`, "data-at": String(at), "aria-setsize": String(this.rows.length),
      "aria-posinset": String(at + 1), title: shown(row.name),
    },
    el("span", { class: "number" }, row.number),
    el("span", { class: "name" }, el("span", { class: "kind" }), row.name),
    el("span", { class: "mark" }, badge(row)),
    el("span", { class: "status" }, row.status),
    el("span", { class: "size" }, size(row.size)),
    el("span", { class: "took" }, row.took === undefined ? "" : duration(row.took)),
    el("span", { class: "track" }, this.bars(row)));
    line.style.top = `${at * ROW_PX}px`;
    line.querySelector(".name").style.paddingLeft = `${Math.min(row.depth, 12) * 14}px`;
    return line;
  }

  bars(row) {
    const bars = [];
    if (row.was && row.change !== "gone") bars.push(this.bar("was", row.was.start_ms, row.was.took_ms));
    if (row.start === undefined) return bars;
    if (row.ended !== undefined) bars.push(this.bar("later", row.start, row.ended));
    bars.push(row.took === undefined ? this.bar("instant", row.start, 0) : this.bar("answered", row.start, row.took));
    return bars;
  }

  bar(kind, startMs, tookMs) {
    const bar = el("i", { class: kind });
    const [left, right] = [startMs, startMs + tookMs].map((ms) => ((ms - this.fromMs) / this.scaleMs) * 100);
    // What lies outside the shown time is not drawn.
    if (right < 0 || left > 100.01) bar.hidden = true;
    bar.style.left = `${Math.max(0, left)}%`;
    bar.style.width = `${Math.max(0, Math.min(100, right) - Math.max(0, left))}%`;
    return bar;
  }
}

// What must be known of a line at a glance.
function badge(row) {
  if (row.change) return row.change;
  if (row.state === "observed") return "observed";
  if (row.state === "lost") return "no replay";
  return row.state ?? row.marks?.[0] ?? "";
}

function ticks(fromMs, scaleMs) {
  return [0, 0.5, 1].map((part) => {
    const tick = el("span", { class: part === 1 ? "tick last" : "tick" }, duration(fromMs + scaleMs * part));
    tick.style.left = `${part * 100}%`;
    return tick;
  });
}

// The names of the columns, and the times that the bars stand at.
export function axisLine(list) {
  const names = [["number", "#"], ["name", "call"], ["mark", ""], ["status", "status"], ["size", "size"], ["took", "took"]];
  return el("div", { class: "axis row" }, names.map(([kind, name]) => el("span", { class: kind }, name)), list.axis);
}
