// Requests and answers: headers, bodies, statements, commands, rows.
import { el } from "./dom.js";
import { marked } from "./highlight.js";
import { sqlTokens } from "./sql.js";
import { plain, valueTable, valueTree } from "./values.js";

// A part of the detail with a title. Without content it is left out.
export function section(title, ...content) {
  const parts = content.flat().filter((part) => part !== null && part !== undefined && part !== false);
  return parts.length ? el("section", {}, el("h3", {}, title), parts) : null;
}

export function headerTable(pairs) {
  if (!pairs?.length) return null;
  const rows = pairs.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, marked(name)), el("td", {}, marked(value))));
  return el("table", { class: "pairs" }, el("tbody", {}, rows));
}

export function bodyBlock(lines) {
  if (!lines?.length) return null;
  const [about, ...rest] = lines;
  return [el("p", { class: "about" }, about), rest.length ? el("pre", { tabindex: "0" }, marked(rest.join("\n"))) : null];
}

export function message(part) {
  return part ? [headerTable(part.headers), bodyBlock(part.body)].flat() : [];
}

export function statementBlock(statement) {
  const block = el("pre", { class: "sql", tabindex: "0" });
  for (const [kind, text] of sqlTokens(statement)) {
    block.append(kind === "blank" || kind === "sign" ? marked(text) : el("span", { class: kind }, marked(text)));
  }
  return block;
}

function quoted(part) {
  const text = plain(part);
  if (text !== "" && !/[\s"']/.test(text)) return text;
  return text.includes("'") ? JSON.stringify(text) : `'${text}'`;
}

// The commands of a round trip, one on each line.
export function commandBlock(args) {
  const commands = args.every((each) => Array.isArray(each)) ? args : [args];
  return el("pre", { class: "commands", tabindex: "0" }, commands.map((parts) => [
    el("span", { class: "keyword" }, marked(plain(parts[0] ?? ""))),
    marked(parts.slice(1).map((part) => ` ${quoted(part)}`).join("")),
    "\n",
  ]).flat());
}

export function parameterTable(parameters) {
  if (parameters === null || parameters === undefined) return null;
  const pairs = Array.isArray(parameters) ? parameters.map((item, at) => [at + 1, item]) : Object.entries(parameters);
  if (!pairs.length) return null;
  return el("table", { class: "pairs" }, el("tbody", {}, pairs.map(([name, item]) =>
    el("tr", {}, el("th", { scope: "row" }, marked(name)), el("td", {}, valueTree(item))))));
}

// What a database answered: its rows as a table, and the rest by name.
export function rowsOf(reply) {
  if (!Array.isArray(reply?.rows) || !Array.isArray(reply.description)) return null;
  const columns = reply.description.map((column) => plain(Array.isArray(column) ? column[0] : column));
  return reply.rows.length ? valueTable(columns, reply.rows) : el("p", { class: "about" }, `no rows of ${columns.join(", ")}`);
}

// The frames of a WebSocket.
export function framesOf(reply) {
  const frames = reply?.conversation?.frames;
  if (!Array.isArray(frames)) return null;
  return valueTable(["from", "ms", "kind", "says"], frames.map((frame) =>
    Array.isArray(frame) ? [frame[0], (frame[1] / 1e6).toFixed(1), frame[2], frame[4] ?? ""] : frame));
}
