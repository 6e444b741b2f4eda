// A long table: which columns are shown, which rows are chosen, and moving by keys. Its
// `data-columns` names it where choices are kept; its bar's `data-noun` is "batch batches".
(() => {
  "use strict";
  const table = () => document.querySelector("table[data-columns]");
  if (!table()) return;
  const read = (store, key, fallback) => {
    try {
      return JSON.parse(store.getItem(key)) ?? fallback;
    } catch {
      return fallback;
    }
  };
  const keep = (store, key, value) => {
    try {
      store.setItem(key, JSON.stringify(value));
    } catch {
      // Without storage a choice holds for this page alone.
    }
  };

  // --- Columns, remembered in this browser
  const name = table().dataset.columns;
  const COLUMNS = `vbatch-${name}-hidden`;
  const menu = document.querySelector("[data-columns-menu]");
  const boxes = menu ? [...menu.querySelectorAll("input")] : [];
  // Only where it must: in a box that scrolls, the heading cannot stay at the top of the window.
  const fit = () => {
    const card = table().parentElement;
    card.classList.remove("scrolls");
    card.classList.toggle("scrolls", table().offsetWidth > card.clientWidth);
  };
  const showColumns = (hidden) => {
    table().dataset.hidden = hidden.join(" ");
    for (const box of boxes) box.checked = !hidden.includes(box.value);
    fit();
  };
  const stored = read(localStorage, COLUMNS, null);
  if (Array.isArray(stored)) showColumns(stored.filter((name) => boxes.some((b) => b.value === name)));
  fit();
  addEventListener("resize", fit);
  document.addEventListener("vbatch:patched", fit);
  menu?.addEventListener("change", () => {
    const hidden = boxes.filter((box) => !box.checked).map((box) => box.value);
    showColumns(hidden);
    keep(localStorage, COLUMNS, hidden);
  });

  // --- Rows that are chosen, remembered from page to page of this tab
  const bar = document.querySelector("[data-picked]");
  if (bar) {
    const PICKED = `vbatch-${name}-picked`;
    const [one, many] = bar.dataset.noun.split(" ");
    const kept = read(sessionStorage, PICKED, []);
    const picked = new Set(Array.isArray(kept) ? kept : []);
    const all = document.querySelector("[data-pick-all]");
    const form = document.getElementById("bulk-form");
    const rowBoxes = () => [...document.querySelectorAll("[data-pick]")];
    const showPicked = () => {
      const rows = rowBoxes();
      for (const box of rows) {
        box.checked = picked.has(box.dataset.pick);
        box.closest("tr").classList.toggle("chosen", box.checked);
      }
      const here = rows.filter((box) => box.checked).length;
      all.checked = rows.length > 0 && here === rows.length;
      all.indeterminate = here > 0 && here < rows.length;
      bar.hidden = picked.size === 0;
      document.body.classList.toggle("has-picked", picked.size > 0);
      const elsewhere = picked.size - here;
      const words = `${picked.size.toLocaleString("en")} ${picked.size === 1 ? one : many}`;
      for (const place of document.querySelectorAll("[data-picked-count]")) {
        place.textContent = bar.contains(place)
          ? `${words} chosen${elsewhere ? `, ${elsewhere.toLocaleString("en")} not on this page` : ""}`
          : words;
      }
      const ids = [...picked];
      const rest = ids.length > 10 ? ` and ${ids.length - 10} more` : "";
      for (const place of document.querySelectorAll("[data-picked-ids]")) {
        place.textContent = ids.slice(0, 10).join(", ") + rest;
      }
      // As many as can be taken together.
      for (const button of document.querySelectorAll("[data-picks-max]")) {
        button.disabled = ids.length > Number(button.dataset.picksMax);
      }
      form.elements.ids.value = ids.join(" ");
      keep(sessionStorage, PICKED, ids);
    };
    const pick = (box, on) => (on ? picked.add(box.dataset.pick) : picked.delete(box.dataset.pick));
    document.addEventListener("change", (event) => {
      const box = event.target;
      if (box === all) for (const row of rowBoxes()) pick(row, all.checked);
      else if (box.matches("[data-pick]")) pick(box, box.checked);
      else return;
      showPicked();
    });
    document.addEventListener("click", (event) => {
      // The focus that a pointer leaves behind would keep the list from growing.
      if (event.detail && event.target.matches("[data-pick], [data-pick-all]")) event.target.blur();
      if (!event.target.closest("[data-pick-none]")) return;
      picked.clear();
      showPicked();
    });
    form.addEventListener("submit", () => keep(sessionStorage, PICKED, []));
    document.addEventListener("vbatch:patched", showPicked);
    addEventListener("pageshow", showPicked);
    showPicked();
  }

  // --- j and k move, Enter opens (the focus is on the row's link), x chooses, Escape lets go
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const on = document.activeElement;
    if (on?.matches("input:not([type=checkbox]), textarea, select, [contenteditable]")) return;
    const rows = [...table().tBodies[0].rows];
    const at = rows.indexOf(on?.closest("tbody tr"));
    if (event.key === "j" || event.key === "k") {
      const next = event.key === "j" ? at + 1 : at < 0 ? rows.length - 1 : at - 1;
      const link = rows[next]?.querySelector("a[data-row-link]");
      if (!link) return;
      link.focus({ preventScroll: true });
      rows[next].scrollIntoView({ block: "nearest" });
      event.preventDefault();
    } else if (event.key === "x" && at >= 0) {
      rows[at].querySelector("[data-pick]").click();
    } else if (event.key === "Escape" && at >= 0) {
      on.blur();
    }
  });
})();
