// Small behaviour that every page shares: times, copying, folding, menus, dialogs, rows.
(() => {
  "use strict";
  // Ages are counted by the server's clock, whatever the reader's says.
  const offset = Date.parse(document.body.dataset.now) - Date.now() || 0;
  const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

  const age = (seconds) => {
    const s = Math.round(Math.abs(seconds));
    const words =
      s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` :
      s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
    if (s < 2) return "now";
    return seconds < 0 ? `in ${words}` : `${words} ago`;
  };
  const showTimes = () => {
    const now = Date.now() + offset;
    for (const time of document.querySelectorAll("time[datetime]")) {
      const at = Date.parse(time.dateTime);
      const text = age((now - at) / 1000);
      if (time.textContent !== text) time.textContent = text;
      if (!time.dataset.full) {
        time.dataset.full = "1";
        time.title = absolute.format(at);
      }
    }
  };
  showTimes();
  setInterval(() => document.hidden || showTimes(), 1000);
  document.addEventListener("vbatch:patched", showTimes);

  // `data-stale-after="6" data-read-at="ISO TIME"`: a figure that is no longer true does not look as
  // if it were. Once its source is older than that, the element gets the class `aged`, and what it
  // holds of `data-age-words` says for how long there was no reading (or what else that names). It
  // needs no answer of the server, so that it holds while that is away too. `data-stale` is the
  // server's own word for the same, by the database's clock: it counts even where the reader's
  // clock says otherwise.
  const showStale = () => {
    const now = Date.now() + offset;
    for (const element of document.querySelectorAll("[data-stale-after]")) {
      const at = Date.parse(element.dataset.readAt);
      const seconds = (now - at) / 1000;
      const old = element.hasAttribute("data-stale") || !(seconds <= Number(element.dataset.staleAfter));
      element.classList.toggle("aged", old);
      for (const words of element.querySelectorAll("[data-age-words]")) {
        if (words.closest("[data-stale-after]") !== element) continue;
        const noun = words.dataset.ageWords;
        const since = age(Math.max(0, seconds));
        const text = !old
          ? `${noun || "read"} ${since}`
          : at ? `no ${noun || "reading"} for ${since.replace(" ago", "").replace("now", "a moment")}` : `no ${noun || "reading"} yet`;
        if (words.textContent !== text) words.textContent = text;
      }
    }
  };
  showStale();
  setInterval(() => document.hidden || showStale(), 500);
  document.addEventListener("visibilitychange", showStale);
  document.addEventListener("vbatch:patched", showStale);

  const copy = async (button) => {
    const box = button.hasAttribute("data-copy-from") && button.parentElement.querySelector("code");
    const text = box ? box.textContent : button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Without HTTPS a browser offers no clipboard but for this old way.
      const area = document.createElement("textarea");
      area.value = text;
      area.className = "off-screen";
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    button.classList.add("copied");
    setTimeout(() => button.classList.remove("copied"), 1500);
  };

  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
    const button = event.target.closest("button");
    if (button?.matches("[data-copy], [data-copy-from]")) copy(button);
    if (button?.dataset.fold) {
      const open = document.getElementById(button.dataset.fold).classList.toggle("open");
      button.setAttribute("aria-expanded", String(open));
    }
    if (button?.dataset.dialog) document.getElementById(button.dataset.dialog).showModal();
    if (button?.matches("[data-close-dialog]")) button.closest("dialog").close();
    if (button?.dataset.theme) button.closest("details").open = false;
    if (event.target.closest("a, button, summary, input, label")) return;
    const row = event.target.closest("tr");
    const link = row && row.querySelector("a[data-row-link]");
    if (link && getSelection().isCollapsed) link.click();
  });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
    const search = document.querySelector("[data-search]");
    const modified = event.ctrlKey || event.metaKey || event.altKey;
    const asked = event.key === "/" ? !typing && !modified : event.key === "k" && (event.ctrlKey || event.metaKey);
    if (search && asked && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      search.focus();
      search.select();
    }
    if (event.key !== "Escape") return;
    if (event.target === search) search.blur();
    for (const menu of document.querySelectorAll("details[data-menu][open]")) menu.open = false;
  });
})();
