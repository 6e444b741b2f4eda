// Votes by key: each button and link names its own in `data-vote-key`; inert while typing.
(() => {
  "use strict";
  let sent = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    if (document.querySelector("dialog[open]")) return;
    const on = event.target.closest("input, textarea, select, [contenteditable]");
    // Arrows scroll what has the focus.
    const scrolls = event.key.startsWith("Arrow") && event.target.closest("[tabindex]");
    if (on || scrolls) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    for (const button of document.querySelectorAll("[data-vote-key]")) {
      if (!button.dataset.voteKey.split(" ").includes(key)) continue;
      event.preventDefault();
      button.click();
      return;
    }
  });
  // Once each, however fast the keys are.
  document.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  addEventListener("pageshow", () => (sent = false));
})();
