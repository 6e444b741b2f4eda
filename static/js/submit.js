// Submit: drop a file, see how far it is, and which columns a table has.
(() => {
  "use strict";
  const HEADER_BYTES = 65536;
  const isTable = (name) => /\.(csv|tsv)$/i.test(name);
  const size = (bytes) =>
    bytes < 1024 ? `${bytes} bytes` :
    bytes < 1048576 ? `${(bytes / 1024).toFixed(1)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;

  const form = document.querySelector("[data-submit]");
  if (form) startForm();
  for (const once of document.querySelectorAll("[data-once]")) {
    once.addEventListener("submit", () => {
      once.querySelector("button.btn-primary").disabled = true;
    });
  }
  // Back in history, the button works again: the form's token makes sure of one batch.
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("[data-once] button.btn-primary")) {
      button.disabled = false;
    }
  });
  // The time is told by another part of the server, which the page does not wait for.
  for (const box of document.querySelectorAll("[data-estimate]")) {
    const { estimate, model, requests, tokens } = box.dataset;
    fetch(`${estimate}?${new URLSearchParams({ model, requests, tokens })}`)
      .then(async (answer) => {
        if (!answer.ok) return;
        box.innerHTML = await answer.text();
        box.hidden = false;
      })
      .catch(() => {}); // then there is none
  }

  function startForm() {
    const find = (name) => form.querySelector(`[data-${name}]`);
    const input = form.elements.file;
    const drop = find("drop");
    const options = find("table-options");
    const refused = document.querySelector("[data-refused]");
    const sending = find("sending");
    const words = find("sending-words");
    const chosen = find("chosen");
    const first = chosen.textContent;
    let message = form.elements.user;
    let request = null;

    find("drop-hint").hidden = false;
    const refuse = (text) => {
      const note = document.createElement("div");
      note.className = "alert alert-danger note";
      note.setAttribute("role", "alert");
      note.textContent = text;
      refused.replaceChildren(note);
      note.scrollIntoView({ block: "nearest" });
    };

    const show = () => {
      const file = input.files[0];
      const table = Boolean(file) && isTable(file.name);
      chosen.textContent = file ? `${file.name}, ${size(file.size)}` : first;
      find("drop-hint").textContent = file ? "or drop another" : "or drop it here";
      options.hidden = !table;
      for (const one of options.querySelectorAll("[data-needed]")) one.required = table;
      refused.replaceChildren();
      if (file && file.size > Number(form.dataset.maxBytes)) {
        refuse(`${file.name} is too large: it has ${size(file.size)}, and ${size(Number(form.dataset.maxBytes))} are allowed. Split it into several files.`);
      } else if (file && file.size === 0) {
        refuse(`${file.name} is empty.`);
      }
      if (table) showColumns(file);
    };
    const showColumns = async (file) => {
      let text = "";
      try {
        text = await file.slice(0, HEADER_BYTES).text();
      } catch {
        return; // the server says what is wrong with it
      }
      const header = text.replace(/^\ufeff/, "").split(/\r?\n/, 1)[0];
      const bare = header.replace(/"[^"]*"/g, "");
      const by = [",", ";", "\t", "|"].reduce((a, b) => (bare.split(b).length > bare.split(a).length ? b : a));
      const names = [];
      let cell = "";
      let quoted = false;
      for (const char of `${header}${by}`) {
        if (char === '"') quoted = !quoted;
        else if (char === by && !quoted) { names.push(cell.trim()); cell = ""; }
        else cell += char;
      }
      const known = names.filter((name) => name && !/[{}]/.test(name)).slice(0, 40);
      const list = find("columns");
      list.replaceChildren(list.firstElementChild, ...known.map((name) => {
        const chip = document.createElement("button");
        chip.type = "button";
        chip.className = "chip";
        chip.textContent = `{${name}}`;
        chip.addEventListener("click", () => {
          message.setRangeText(`{${name}}`, message.selectionStart, message.selectionEnd, "end");
          message.focus();
        });
        return chip;
      }));
      list.hidden = known.length === 0;
      find("column-names").replaceChildren(...known.map((name) => new Option(name, name)));
    };
    for (const area of [form.elements.user, form.elements.system]) {
      area.addEventListener("focus", () => { message = area; });
    }

    input.addEventListener("change", show);
    for (const name of ["dragenter", "dragover"]) {
      drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
    }
    for (const name of ["dragleave", "drop"]) {
      drop.addEventListener(name, () => drop.classList.remove("over"));
    }
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      if (event.dataTransfer.files.length > 1) return refuse("One file a batch: drop them one by one.");
      if (event.dataTransfer.files.length === 1) {
        input.files = event.dataTransfer.files;
        show();
      }
    });
    // A file that misses the field would take the place of the page.
    for (const name of ["dragover", "drop"]) {
      addEventListener(name, (event) => event.preventDefault());
    }

    const busy = (is) => {
      sending.hidden = !is;
      find("send").disabled = is;
      if (!is) request = null;
    };
    find("stop").addEventListener("click", () => request?.abort());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const file = input.files[0];
      if (request || !file) return;
      if (file.size > Number(form.dataset.maxBytes) || file.size === 0) return show();
      refused.replaceChildren();
      const bar = sending.querySelector("progress");
      bar.value = 0;
      request = new XMLHttpRequest();
      request.open("POST", location.pathname);
      request.setRequestHeader("Accept", "application/json");
      request.upload.addEventListener("progress", (event) => {
        if (!event.lengthComputable) return;
        bar.value = event.loaded / event.total;
        words.textContent = `${size(event.loaded)} of ${size(event.total)}`;
      });
      request.upload.addEventListener("load", () => {
        bar.removeAttribute("value");
        words.textContent = "Uploaded; it is being checked…";
      });
      request.addEventListener("load", (event) => {
        let answer = {};
        try { answer = JSON.parse(event.target.responseText); } catch { /* said below */ }
        if (answer.location) {
          location.assign(answer.location);
          return; // busy until the next page is there
        }
        busy(false);
        if (answer.problem) {
          refused.innerHTML = answer.problem;
          refused.scrollIntoView({ block: "nearest" });
        } else if (event.target.status === 403 || event.target.responseURL.includes("/login")) {
          refuse("You are logged out, or may not submit here. Load this page again.");
        } else {
          refuse(`The server answered ${event.target.status} and stored nothing. Try again; its log says more.`);
        }
      });
      request.addEventListener("error", () => {
        busy(false);
        refuse("The connection broke, and nothing was stored. Or the file was changed since you chose it: choose it again.");
      });
      request.addEventListener("abort", () => {
        busy(false);
        refuse("Stopped. Nothing was stored.");
      });
      busy(true);
      request.send(new FormData(form));
    });
    addEventListener("pageshow", (event) => event.persisted && busy(false));
    show();
  }
})();
