// Everything that is known of one line: a call, a log record, the request itself, or what a replay refused.
import { append, el } from "./dom.js";
import { marked } from "./highlight.js";
import {
  bodyBlock, commandBlock, framesOf, headerTable, message, parameterTable, rowsOf, section, statementBlock,
} from "./messages.js";
import { duration, size } from "./text.js";
import { valueTree } from "./values.js";

const SHOWN_APART = new Set(["rows", "description", "fetches", "conversation"]);
const STATES = {
  hit: "A replay answered it.",
  unused: "No call of the replay asked for it.",
  setup: "It sets a connection up. A replay may do without it.",
  observed: "It was observed only: no plugin captured its answer, and a replay refuses it.",
  lost: "No replay can answer from it.",
};

function facts(pairs) {
  const there = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  return el("dl", { class: "facts" }, there.flatMap(([name, value]) => [
    el("dt", {}, name),
    el("dd", {}, value instanceof Node ? value : marked(value)),
  ]));
}

function times(event) {
  const began = `began at ${duration(event.start_ms)}, took ${duration(event.took_ms)}`;
  return event.ended_ms === undefined ? began : `${began}, was read until ${duration(event.start_ms + event.ended_ms)}`;
}

function rest(reply) {
  if (reply === null || typeof reply !== "object" || Array.isArray(reply)) return reply;
  const names = Object.keys(reply).filter((name) => !SHOWN_APART.has(name));
  return names.length ? Object.fromEntries(names.map((name) => [name, reply[name]])) : undefined;
}

function asked(event) {
  const { args } = event;
  if (args === undefined) return [];
  if (Array.isArray(args) && event.kind === "redis") return [section("Command", commandBlock(args))];
  if (typeof args?.statement !== "string") return [section("Arguments", valueTree(args))];
  const others = Object.entries(args).filter(([name]) => name !== "statement" && name !== "parameters");
  return [
    section("Statement", statementBlock(args.statement)),
    section("Parameters", parameterTable(args.parameters)),
    others.length ? section("Options", valueTree(Object.fromEntries(others))) : null,
  ];
}

function answered(event) {
  const { reply } = event;
  if (reply === undefined) return [];
  const table = rowsOf(reply);
  const left = rest(table || framesOf(reply) ? reply : reply);
  return [
    section("Rows", table),
    section("Frames", framesOf(reply)),
    left === undefined ? null : foldedSection(table ? "What else was answered" : "Reply", valueTree(left), Boolean(table)),
  ];
}

function foldedSection(title, content, folded) {
  if (!folded) return section(title, content);
  return el("section", {}, el("details", {}, el("summary", {}, el("h3", {}, title)), content));
}

function spans(event) {
  return (event.spans ?? []).map((span) =>
    el("section", {}, el("details", {},
      el("summary", {}, el("h3", {}, "Span"), " ", marked(span.name ?? "")),
      facts([
        ["span", span.span_id], ["parent", span.parent_span_id], ["trace", span.trace_id], ["kind", span.kind],
        ["status", [span.status, span.status_description].filter(Boolean).join(": ")], ["scope", span.scope],
        ["sampled", span.sampled ? "yes" : "no"],
      ]),
      parameterTable(span.attributes))));
}

function failure(exception) {
  const lines = [];
  for (let error = exception; error; error = error.cause) {
    lines.push(`${lines.length ? "caused by " : ""}${error.cls}: ${error.message}`);
  }
  return lines.length ? el("pre", { class: "failed" }, marked(lines.join("\n"))) : null;
}

// The log records of the span that a call was made in, and those that were made while it ran.
function logsAround(event, recording) {
  const until = event.start_ms + (event.ended_ms ?? event.took_ms);
  const parents = new Set((event.spans ?? []).flatMap((span) => [span.span_id, span.parent_span_id]).filter(Boolean));
  return recording.logs.filter((log) =>
    (log.at_ms >= event.start_ms && log.at_ms <= until) || (log.span_id && parents.has(log.span_id)));
}

export function logLine(log) {
  return el("div", { class: `record ${log.severity >= 40 ? "failed" : log.severity >= 30 ? "warned" : ""}` },
    el("span", { class: "when" }, duration(log.at_ms)), el("span", { class: "level" }, log.level),
    el("span", { class: "says" }, marked(`${log.logger}: ${log.message}`)));
}

export function eventDetail(event, recording) {
  const logs = logsAround(event, recording).slice(0, 200);
  const made = el("article", {},
    el("h2", {}, `#${event.eid} `, marked(event.name)),
    facts([
      ["status", event.status], ["time", times(event)], ["size", size(event.size)],
      ["inside", event.path?.join(" > ")], ["replay", STATES[event.state]], ["marks", event.marks?.join(", ")],
    ]));
  append(made, [
    ...(event.remarks ?? []).map((remark) => el("p", { class: "remark" }, marked(remark))),
    section("Error", failure(event.exception)),
    ...asked(event),
    section("Request", event.url && event.kind === "http" ? el("p", { class: "line" }, marked(`${event.method} ${event.url}`)) : null,
      event.query ? parameterTable(event.query) : null, message(event.request)),
    section("Response", message(event.response)),
    ...answered(event),
    section("Log records", logs.map(logLine)),
    ...spans(event),
  ]);
  return made;
}

export function logDetail(log) {
  const made = el("article", {}, el("h2", {}, marked(log.logger)),
    facts([["level", log.level], ["time", `at ${duration(log.at_ms)}`], ["span", log.span_id]]));
  append(made, [section("Message", el("pre", {}, marked(log.message))),
    section("Error", log.error ? el("pre", { class: "failed" }, marked(log.error)) : null)]);
  return made;
}

export function rootDetail(recording) {
  const { root } = recording;
  const made = el("article", {}, el("h2", {}, marked(recording.title)), facts(recording.facts));
  append(made, [
    root.error ? section("Error", parameterTable(root.error)) : null,
    section("Request", root.line ? el("p", { class: "line" }, marked(root.line)) : null, message(root.request)),
    section("Response", recording.status ? el("p", { class: "line" }, String(recording.status)) : null, message(root.response)),
    section("Log records", recording.logs.slice(0, 200).map(logLine)),
  ]);
  return made;
}

export function refusalDetail(row) {
  return el("article", {}, el("h2", {}, row.kind === "live" ? "live" : row.status), el("pre", { class: "failed" }, marked(row.name)));
}

export function changeDetail(row, before, after) {
  const made = el("article", {}, el("h2", {}, el("span", { class: `change ${row.change ?? ""}` }, row.change ?? "same"), " ", marked(row.name)));
  if (row.differences?.length) append(made, [section("What differs", el("ul", { class: "differences" }, row.differences.map(differenceLine)))]);
  const sides = el("div", { class: "sides" });
  if (row.was) sides.append(el("div", {}, el("h3", {}, "Before"), eventDetail(row.was, before)));
  if (row.event) sides.append(el("div", {}, el("h3", {}, "After"), eventDetail(row.event, after)));
  append(made, [sides]);
  return made;
}

function differenceLine(text) {
  const [was, now] = text.split(" -> ");
  const at = was.indexOf(": ");
  if (now === undefined || at < 0) return el("li", {}, marked(text));
  return el("li", {}, el("span", { class: "field" }, marked(was.slice(0, at + 2))), el("del", {}, marked(was.slice(at + 2))), " ", el("ins", {}, marked(now)));
}

export function comparisonDetail(data) {
  const { comparison } = data;
  const made = el("article", {}, el("h2", {}, marked(data.title)),
    facts([["before", comparison.before], ["after", comparison.after], ["made anew", comparison.anew ? `${comparison.anew} values that each run makes anew` : ""]]));
  const totals = Object.entries(comparison.totals).map(([name, each]) => [name, `${each.before} -> ${each.after}`]);
  append(made, [
    section("Answer", comparison.answer.length ? el("ul", { class: "differences" }, comparison.answer.map(differenceLine)) : null),
    section("Calls by kind", totals.length ? facts(totals) : null),
    section("Calls by what they ask", comparison.counts.length ? countsTable(comparison.counts) : null),
    comparison.differs ? null : el("p", { class: "about" }, "No difference, but for times."),
  ]);
  return made;
}

function countsTable(counts) {
  return el("table", { class: "rows" },
    el("thead", {}, el("tr", {}, ["call", "before", "after"].map((name) => el("th", { scope: "col" }, name)))),
    el("tbody", {}, counts.map((each) => el("tr", {}, el("td", {}, marked(each.name)),
      el("td", { class: "value number" }, String(each.before)), el("td", { class: "value number" }, String(each.after))))));
}
