// A statement on several lines, as tokens: [class, text]. Nothing but blanks is changed.

const TOKEN =
  /(--[^\n]*|\/\*[^]*?(?:\*\/|$))|('(?:[^']|'')*'?|"(?:[^"]|"")*"?|`[^`]*`?)|(\s+)|([A-Za-z_][\w$]*)|(\d+(?:\.\d+)?)|([^])/g;
const CLASSES = ["comment", "string", "blank", "word", "number", "sign"];
const KEYWORDS = new Set(
  ("ADD ALL ALTER AND AS ASC BEGIN BETWEEN BY CASE COLUMN COMMIT CONFLICT CREATE CROSS DEFAULT DELETE DESC DISTINCT DO " +
    "DROP ELSE END EXCEPT EXISTS FALSE FETCH FOR FOREIGN FROM FULL GROUP HAVING IF ILIKE IN INDEX INNER INSERT INTERSECT " +
    "INTO IS JOIN KEY LEFT LIKE LIMIT LOCK NATURAL NOT NULL NULLS OFFSET ON OR ORDER OUTER OVER PARTITION PRIMARY " +
    "REFERENCES RELEASE RETURNING RIGHT ROLLBACK SAVEPOINT SELECT SET TABLE THEN TRUE UNION UNIQUE UPDATE USING VALUES " +
    "VIEW WHEN WHERE WINDOW WITH").split(" "),
);
const BEGINS_LINE = new Set(
  "SELECT FROM WHERE GROUP ORDER HAVING LIMIT OFFSET UNION EXCEPT INTERSECT VALUES SET RETURNING WINDOW".split(" "),
);
const JOINS = new Set("JOIN LEFT RIGHT INNER FULL CROSS NATURAL".split(" "));
const LONGEST = 20000;

export function sqlTokens(statement) {
  if (statement.length > LONGEST) return [["sign", statement]];
  const tokens = [];
  // Of each open parenthesis: whether a query stands in it, which has lines of its own.
  const open = [];
  let previous = "";
  const line = (more = 0) => {
    if (tokens.length) tokens.push(["blank", `\n${"  ".repeat(open.filter(Boolean).length * 2 + more)}`]);
  };
  const parts = [...statement.trim().matchAll(TOKEN)].map((found) => {
    const at = CLASSES.findIndex((_, place) => found[place + 1] !== undefined);
    return [CLASSES[at], found[0]];
  });
  parts.forEach(([kind, text], at) => {
    const upper = text.toUpperCase();
    const isKeyword = kind === "word" && KEYWORDS.has(upper);
    const isOutside = open.length === 0 || open[open.length - 1];
    if (kind === "blank") {
      if (tokens.length && tokens[tokens.length - 1][0] !== "blank") tokens.push(["blank", " "]);
      return;
    }
    if (isKeyword && isOutside) {
      const joins = JOINS.has(upper) && !JOINS.has(previous) && previous !== "OUTER";
      const sets = upper === "SET" && previous !== "UPDATE" && previous !== "DO";
      if ((BEGINS_LINE.has(upper) && upper !== "SET" && previous !== "DELETE") || (sets && tokens.length) || joins) {
        trim(tokens);
        line();
      } else if ((upper === "AND" || upper === "OR") && !between(parts, at)) {
        trim(tokens);
        line(1);
      }
    }
    tokens.push([isKeyword ? "keyword" : kind, text]);
    if (text === "(") {
      const next = parts.slice(at + 1).find(([each]) => each !== "blank");
      open.push(Boolean(next) && /^(SELECT|WITH)$/i.test(next[1]));
    } else if (text === ")") open.pop();
    else if (kind === "comment" && text.startsWith("--")) line();
    if (kind === "word") previous = upper;
  });
  return tokens;
}

// Whether this AND belongs to a BETWEEN.
function between(parts, at) {
  for (let place = at - 1; place >= 0 && place > at - 12; place--) {
    const word = parts[place][1].toUpperCase();
    if (word === "BETWEEN") return true;
    if (word === "AND" || word === "OR" || word === "WHERE") return false;
  }
  return false;
}

function trim(tokens) {
  while (tokens.length && tokens[tokens.length - 1][0] === "blank") tokens.pop();
}
