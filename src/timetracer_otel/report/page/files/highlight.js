// Marks the values of a recording that are not as they were, or that another run has other ones of.
import { shown } from "./text.js";

let pattern = null;
const kinds = new Map();
const MOST = 4000;

function escaped(text) {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, "\\$&");
}

// Tells which values these are: the texts in place of secrets, and the variables with their kinds.
export function learnValues(recordings) {
  kinds.set("[REDACTED]", "secret");
  for (const recording of recordings) {
    for (const [kind, text] of recording.variables) if (text.length > 3) kinds.set(shown(text), kind);
    for (const text of recording.pseudonyms) kinds.set(shown(text), "secret");
  }
  // The longest first: one may be the beginning of another.
  const texts = [...kinds.keys()].sort((one, other) => other.length - one.length).slice(0, MOST);
  pattern = new RegExp(texts.map(escaped).join("|"), "g");
}

// The text as nodes, with marks around such values.
export function marked(text) {
  const safe = shown(text);
  const made = document.createDocumentFragment();
  let at = 0;
  if (pattern !== null) {
    for (const found of safe.matchAll(pattern)) {
      made.append(safe.slice(at, found.index));
      const kind = kinds.get(found[0]);
      const mark = document.createElement("mark");
      mark.className = kind === "secret" ? "secret" : "fresh";
      mark.title = kind === "secret" ? "stands in place of a secret" : `${kind}: another run has another one`;
      mark.textContent = found[0];
      made.append(mark);
      at = found.index + found[0].length;
    }
  }
  made.append(safe.slice(at));
  return made;
}
