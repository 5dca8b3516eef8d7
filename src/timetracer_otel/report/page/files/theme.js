// Dark or light: as the system says, until the reader chooses.

const THEMES = ["system", "light", "dark"];

// A file that is opened from disk may have no storage.
function stored() {
  try {
    return localStorage.getItem("timetracer-theme");
  } catch {
    return null;
  }
}

export function currentTheme() {
  return document.documentElement.dataset.theme ?? "system";
}

export function setTheme(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem("timetracer-theme", theme);
  } catch {
    // It holds for this page, then.
  }
}

export function nextTheme() {
  const next = THEMES[(THEMES.indexOf(currentTheme()) + 1) % THEMES.length];
  setTheme(next);
  return next;
}

export function restoreTheme() {
  const theme = stored();
  if (THEMES.includes(theme)) setTheme(theme);
}
