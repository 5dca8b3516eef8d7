// The lines of the list. Each has what the list draws, what filters ask for, and what the detail shows.

export function recordingRows(recording) {
  const rows = [{
    kind: "root", depth: 0, name: recording.title, start: 0, took: recording.took_ms, number: "",
    status: recording.status ? String(recording.status) : "", failed: recording.failed,
  }];
  for (const line of recording.rows) {
    if (line.event !== undefined) rows.push(eventRow(recording.events[line.event], line.depth + 1));
    else if (line.log !== undefined) rows.push(logRow(recording.logs[line.log], line.depth + 1));
    else rows.push({ kind: "span", depth: line.depth + 1, name: line.name, number: "", status: "" });
  }
  rows.push(...refusals(recording.account));
  return rows;
}

function eventRow(event, depth) {
  return {
    kind: event.kind, depth, name: event.name, number: `#${event.eid}`, event, start: event.start_ms, took: event.took_ms,
    ended: event.ended_ms, status: event.status, size: event.size, failed: event.failed, state: event.state,
    marks: event.marks,
  };
}

function logRow(log, depth) {
  return {
    kind: "log", depth, name: `${log.logger}: ${log.message}`, number: "", log, start: log.at_ms, status: log.level,
    failed: log.severity >= 40, warned: log.severity >= 30,
  };
}

// The calls of a replay that have no place in the recording.
function refusals(account) {
  if (!account) return [];
  const made = (texts, status) => texts.map((text) => ({ kind: "refused", depth: 1, name: text, number: "", status, failed: true }));
  const live = Object.entries(account.live).map(([name, number]) => ({
    kind: "live", depth: 1, name: `${name}: ${number} went out`, number: "", status: "live", warned: true,
  }));
  return [...made(account.misses, "missed"), ...made(account.blocked, "blocked"), ...live];
}

export function comparisonRows(data) {
  const { before, after, comparison } = data;
  const was = new Map(before.events.map((event) => [event.eid, event]));
  const earlier = new Map(data.pairs.map(([old, now]) => [now, was.get(old)]));
  const changes = new Map();
  const gone = [];
  for (const change of comparison.calls) {
    if (change.kind === "gone") gone.push({ ...eventRow(was.get(change.before), 1), was: was.get(change.before), event: undefined, change: "gone" });
    else {
      const known = changes.get(change.after);
      changes.set(change.after, {
        kind: known?.kind ?? change.kind, differences: [...(known?.differences ?? []), ...change.differences],
      });
    }
  }
  const rows = recordingRows(after).filter((row) => row.kind !== "log");
  for (const row of rows) {
    if (!row.event) continue;
    const change = changes.get(row.event.eid);
    row.was = earlier.get(row.event.eid);
    row.change = change?.kind;
    row.differences = change?.differences;
  }
  return [...rows, ...gone];
}
