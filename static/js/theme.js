// The theme: set before the first paint, so that a dark page never flashes white.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try {
      return localStorage.getItem("vbatch-theme") || "system";
    } catch {
      return "system"; // storage may be forbidden; the system's theme is right then
    }
  };
  const apply = () => {
    const theme = chosen();
    const shown = theme === "system" ? (dark.matches ? "dark" : "light") : theme;
    document.documentElement.setAttribute("data-bs-theme", shown);
    document.documentElement.setAttribute("data-theme-choice", theme);
  };
  apply();
  dark.addEventListener("change", apply);
  addEventListener("storage", apply);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-theme]");
    if (!button) return;
    try {
      localStorage.setItem("vbatch-theme", button.dataset.theme);
    } catch {
      document.documentElement.setAttribute("data-bs-theme", button.dataset.theme);
      return;
    }
    apply();
  });
})();
