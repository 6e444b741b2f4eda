// Live parts of a page: `<div data-live="ADDRESS">` is asked for anew every two seconds.
//
// Only what differs from the server's last word is touched. Inside it:
//   data-cell="NAME"  its content is replaced as a whole, unless it holds a selection, the focus
//                     or a text that was opened;
//   data-list="NAME"  its children carry data-key; they are kept, moved, added and removed, but
//                     not while the pointer is over the list, or a selection or the focus in it;
//   data-ages="NAME"  only its data-read-at and data-stale are carried over, as they are with every
//                     data-cell; what they mean stands in page.js.
(() => {
  "use strict";
  const EVERY_MS = 2000;
  const TIMEOUT_MS = 10000;
  const lastWord = new WeakMap(); // cell -> what the server last sent for it

  const top = (root, selector) =>
    [...root.querySelectorAll(selector)].filter(
      (e) => !e.parentElement.closest("[data-list]") || e.parentElement.closest("[data-list]") === root.closest("[data-list]"),
    );
  const isBusy = (element) => {
    const selection = getSelection();
    const selected =
      selection && !selection.isCollapsed && selection.rangeCount &&
      selection.getRangeAt(0).intersectsNode(element);
    return selected || element.contains(document.activeElement);
  };
  const remember = (root) => {
    for (const cell of root.querySelectorAll("[data-cell]")) lastWord.set(cell, cell.innerHTML);
  };

  // How old a source is changes all the time: it stands in attributes, which are carried over by
  // themselves. So a cell is made anew only when what it says is another thing.
  const carryAges = (cell, fresh) => {
    for (const name of ["data-read-at", "data-stale"]) {
      const value = fresh.getAttribute(name);
      if (value === null) cell.removeAttribute(name);
      else if (cell.getAttribute(name) !== value) cell.setAttribute(name, value);
    }
  };
  const patchCell = (cell, fresh) => {
    cell.hidden = fresh.hidden;
    carryAges(cell, fresh);
    if (lastWord.get(cell) === fresh.innerHTML) return true;
    if (cell.querySelector("[data-opened]") || isBusy(cell)) return false;
    lastWord.set(cell, fresh.innerHTML);
    cell.innerHTML = fresh.innerHTML;
    if (window.htmx) window.htmx.process(cell);
    return true;
  };
  const patchCells = (root, fresh) => {
    let whole = true;
    const old = new Map(top(root, "[data-cell]").map((e) => [e.dataset.cell, e]));
    for (const cell of top(fresh, "[data-cell]")) {
      const mine = old.get(cell.dataset.cell);
      if (mine && !patchCell(mine, cell)) whole = false;
    }
    for (const part of top(fresh, "[data-cell-shown]")) {
      const mine = root.querySelector(`[data-cell-shown="${part.dataset.cellShown}"]`);
      if (mine) mine.hidden = part.hidden;
    }
    for (const part of top(fresh, "[data-ages]")) {
      const mine = root.querySelector(`[data-ages="${part.dataset.ages}"]`);
      if (mine) carryAges(mine, part);
    }
    return whole;
  };

  const patchList = (list, fresh) => {
    const mine = new Map([...list.children].map((e) => [e.dataset.key, e]));
    let whole = true;
    for (const row of fresh.children) {
      const old = mine.get(row.dataset.key);
      if (old && !patchCells(old, row)) whole = false;
    }
    const before = [...list.children].map((e) => e.dataset.key).join(" ");
    const after = [...fresh.children].map((e) => e.dataset.key).join(" ");
    if (before === after) return whole;
    if (mine.size && (list.matches(":hover") || isBusy(list))) return false;
    // What the reader sees stays where it is, whatever comes in above it.
    const anchor = [...list.children].find((e) => e.getBoundingClientRect().top >= 0);
    const anchorTop = anchor && anchor.getBoundingClientRect().top;
    const wanted = new Set([...fresh.children].map((e) => e.dataset.key));
    for (const [key, row] of mine) if (!wanted.has(key)) row.remove();
    let place = list.firstElementChild;
    for (const row of [...fresh.children]) {
      const old = mine.get(row.dataset.key);
      if (old && old === place) {
        place = place.nextElementSibling;
        continue;
      }
      const next = old || document.importNode(row, true);
      if (!old) remember(next);
      list.insertBefore(next, place);
      if (!old && window.htmx) window.htmx.process(next);
    }
    if (scrollY > 0 && anchor && anchor.isConnected) {
      scrollBy(0, anchor.getBoundingClientRect().top - anchorTop);
    }
    return whole;
  };

  // Each of the patch functions returns whether everything could be shown; what could not is
  // shown by a later round.
  const patch = (root, html) => {
    const fresh = new DOMParser().parseFromString(`<div>${html}</div>`, "text/html").body.firstElementChild;
    let whole = patchCells(root, fresh);
    for (const list of fresh.querySelectorAll("[data-list]")) {
      const mine = root.querySelector(`[data-list="${list.dataset.list}"]`);
      if (mine && !patchList(mine, list)) whole = false;
    }
    document.dispatchEvent(new CustomEvent("vbatch:patched"));
    return whole;
  };

  const note = document.querySelector("[data-live-note]");
  const words = (ms) => {
    const s = Math.round(ms / 1000);
    return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h`;
  };

  const start = (root) => {
    let etag = "";
    let freshAt = Date.now();
    let failing = false;
    let asking = false;

    const showAge = () => {
      root.classList.toggle("stale", failing);
      if (!note) return;
      note.hidden = !failing;
      if (failing) {
        const text = `Reconnecting: the server does not answer. The figures below are ${words(Date.now() - freshAt)} old.`;
        if (note.textContent !== text) note.textContent = text;
      }
    };
    const ask = async () => {
      if (document.hidden || asking) return;
      asking = true;
      try {
        const response = await fetch(root.dataset.live, {
          headers: etag ? { "If-None-Match": etag } : {},
          cache: "no-store",
          redirect: "manual",
          signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        if (response.type === "opaqueredirect" || response.status === 404) {
          location.reload(); // logged out, or deleted: the page itself says so
          return;
        }
        if (response.status !== 304 && !response.ok) throw new Error(`HTTP ${response.status}`);
        if (response.status === 200) {
          const whole = patch(root, await response.text());
          // What had to wait for the pointer or a selection comes with the next full answer.
          etag = whole ? response.headers.get("ETag") || "" : "";
        }
        failing = false;
        freshAt = Date.now();
      } catch {
        failing = true;
      } finally {
        asking = false;
        showAge();
      }
    };
    remember(root);
    setInterval(ask, EVERY_MS);
    setInterval(() => failing && showAge(), 1000);
    document.addEventListener("visibilitychange", ask);
    addEventListener("online", ask);
  };

  for (const root of document.querySelectorAll("[data-live]")) start(root);
})();
