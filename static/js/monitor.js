// The log of an engine: read when it is opened, and again while it is open.
(() => {
  "use strict";
  const EVERY_MS = 2000;
  const etags = new WeakMap();
  const selects = (box) => {
    const selection = getSelection();
    return !selection.isCollapsed && selection.rangeCount > 0 && selection.getRangeAt(0).intersectsNode(box);
  };
  const read = async (log) => {
    const box = log.querySelector("[data-log-text]");
    if (!log.open || document.hidden || selects(box)) return;
    try {
      const etag = etags.get(log);
      const response = await fetch(log.dataset.log, {
        headers: etag ? { "If-None-Match": etag } : {},
        cache: "no-store",
        redirect: "error",
        signal: AbortSignal.timeout(10000),
      });
      box.classList.remove("aged");
      if (response.status === 304) return;
      if (!response.ok) throw new Error(`HTTP ${response.status}`);
      const before = box.querySelector("pre");
      const above = before ? before.scrollHeight - before.scrollTop - before.clientHeight : 0;
      const place = before ? before.scrollTop : 0;
      box.innerHTML = await response.text();
      etags.set(log, response.headers.get("ETag") || "");
      const text = box.querySelector("pre");
      // Who reads further up stays there; else the end is in sight.
      if (text) text.scrollTop = above > 20 ? place : text.scrollHeight;
      document.dispatchEvent(new CustomEvent("vbatch:patched"));
    } catch {
      box.classList.add("aged");
      if (!box.textContent) box.textContent = "The log cannot be read now.";
    }
  };
  // `toggle` does not bubble; it can be caught on its way down.
  document.addEventListener("toggle", (event) => event.target.matches?.("[data-log]") && read(event.target), true);
  setInterval(() => document.querySelectorAll("[data-log][open]").forEach(read), EVERY_MS);
})();
