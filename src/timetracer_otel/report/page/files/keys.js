// The keyboard: every line can be reached without a mouse.

export const KEYS_TOLD = "↑ ↓ or j k: move · n p: next or previous trouble · + - 0: zoom · / search · t dark or light · Esc: close";

export function listenToKeys({ list, search, close, theme }) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target === search) {
      if (event.key === "Escape" || event.key === "Enter") {
        if (event.key === "Escape" && search.value) {
          search.value = "";
          search.dispatchEvent(new Event("input"));
        }
        list.scroller.focus();
        event.preventDefault();
      }
      return;
    }
    const isElsewhere = event.target.closest?.("button, summary, .detail");
    const moves = {
      j: 1, k: -1, ...(isElsewhere ? {} : { ArrowDown: 1, ArrowUp: -1, PageDown: list.page, PageUp: -list.page, Home: -Infinity, End: Infinity }),
    };
    if (event.key in moves) list.go(list.at + moves[event.key]);
    else if (event.key === "n" || event.key === "p") trouble(list, event.key === "n" ? 1 : -1);
    else if (event.key === "+" || event.key === "=") list.zoomBy(2);
    else if (event.key === "-") list.zoomBy(0.5);
    else if (event.key === "0") list.zoomBy(0);
    else if (event.key === "/") search.focus();
    else if (event.key === "t") theme();
    else if (event.key === "Escape") close();
    else return;
    event.preventDefault();
  });
}

function trouble(list, step) {
  for (let at = list.at + step; at >= 0 && at < list.rows.length; at += step) {
    const row = list.rows[at];
    if (row.kind !== "root" && (row.failed || row.change || row.state === "observed" || row.state === "unused" || row.state === "lost")) {
      list.go(at);
      return;
    }
  }
}
