// Charts: `<figure class="chart" data-chart data-src="/api/series?…"><figcaption>…</figcaption></figure>`
//
//   data-lines   what is drawn, `name:Label,name:Label`; the names are those of the answer
//   data-only    the label of one series of the answer, where the address gives several
//   data-unit    the unit of the axis; B is shown in GiB
//   data-min, data-max   fixed ends of the axis; it begins at 0 unless told otherwise
//   data-rate    the values are counters: their change per second is drawn
//   data-height  of the drawing, in pixels
//   data-spark   a line without axes and legend
//   data-phases  shades the times of each phase of a batch; the running part is told apart into
//                warm-up, steady and tail
//
// Figures of one page with the same address share one poll. A figure in a live part of a page
// stands outside of any data-cell, which would replace it.
(() => {
  "use strict";
  const { EVERY_MS, feeds, feedOf, ratesOf, withGaps } = window.vbatchSeries;
  const GAP_STEPS = 2.5;
  const GAP_THINNED_S = 90;
  // A label has its colour on every page; those that are not listed get one by their letters.
  const COLOURS = 8; // Okabe and Ito's, in their order; see charts.css
  const KNOWN = {
    Busy: 5, CPU: 5, Memory: 1, Power: 6, Limit: 0, Temperature: 6, "SM clock": 5, "Memory clock": 7,
    In: 1, Out: 5, Running: 3, Waiting: 7, "KV cache": 5, "Prefix hits": 3, Load: 7,
    "First token": 5, "Between tokens": 7, "Whole answer": 3, Total: 0,
    Answered: 3, Failed: 6, Requests: 3,
  };
  const PHASES = ["queued", "loading model", "running", "paused", "warm-up", "steady", "tail"];
  const [RUNNING, WARM, STEADY, TAIL] = [2, 4, 5, 6];

  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const setText = (element, text) => {
    if (element.textContent !== text) element.textContent = text;
  };
  const words = (seconds) => {
    const s = Math.round(seconds);
    return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
  };
  const number = (value, unit) => {
    if (value === null || value === undefined) return "–";
    const size = Math.abs(value);
    const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
    const text = value.toLocaleString("en", { maximumFractionDigits: digits });
    return unit ? `${text} ${unit}` : text;
  };

  let style = null;
  const variable = (name) => {
    style = style || getComputedStyle(document.documentElement);
    return style.getPropertyValue(name).trim() || "#888";
  };
  const colourOf = (label, taken) => {
    let index = KNOWN[label];
    if (index === undefined) {
      let sum = 0;
      for (const letter of label) sum = (sum * 31 + letter.codePointAt(0)) % 9973;
      index = sum % COLOURS;
    }
    // Two lines of one chart never look the same, be it at the cost of the rule above.
    for (let i = 0; i < COLOURS && taken.has(index); i++) index = (index + 1) % COLOURS;
    taken.add(index);
    return index;
  };

  // A value between two gaps has no line: it is drawn as a point.
  const lonely = (u, index) => {
    const values = u.data[index];
    const found = [];
    const empty = (i) => values[i] === null || i < 0 || i >= values.length;
    for (let i = 0; i < values.length; i++) {
      if (values[i] === null || values[i] === undefined) continue;
      let before = i - 1;
      let after = i + 1;
      while (values[before] === undefined && before >= 0) before--;
      while (values[after] === undefined && after < values.length) after++;
      if (empty(before) && empty(after)) found.push(i);
    }
    return found;
  };

  class Chart {
    constructor(figure) {
      this.figure = figure;
      const data = figure.dataset;
      this.lines = data.lines.split(",").map((pair) => {
        const [name, ...label] = pair.split(":");
        return { name, label: label.join(":") || name };
      });
      this.spark = "spark" in data;
      this.height = Number(data.height) || (this.spark ? 36 : 170);
      this.bytes = data.unit === "B" || data.unit === "B/s";
      this.unit = this.bytes ? data.unit.replace("B", "GiB") : data.unit || "";
      this.scale = this.bytes ? 1 / 2 ** 30 : 1;
      this.min = "min" in data ? Number(data.min) : 0;
      this.max = "max" in data ? Number(data.max) * this.scale : null;
      this.caption = figure.querySelector("figcaption")?.textContent.trim() || this.lines[0].label;
      this.plotBox = make("div", "chart-plot");
      this.plotBox.setAttribute("role", "img");
      this.plotBox.style.height = `${this.height}px`;
      this.note = make("p", "chart-note", "Reading…");
      figure.append(this.plotBox);
      if (!this.spark) {
        this.legend = make("ul", "chart-legend");
        figure.append(this.legend, this.note);
        this.table = make("details", "chart-table");
        this.table.append(make("summary", "", "Data as a table"));
        this.table.addEventListener("toggle", () => this.fillTable());
        figure.append(this.table);
      } else {
        figure.append(this.note);
      }
      this.labels = "";
      new ResizeObserver(() => this.resize()).observe(this.plotBox);
      this.feed = feedOf(data.src);
      this.feed.charts.add(this);
    }
    parts() {
      const all = [...this.feed.series.values()];
      const only = this.figure.dataset.only;
      if (only !== undefined) return all.filter((part) => part.label === only);
      // What was silent all the time, such as an engine of a lane that is no more, has no line.
      const seen = all.filter((part) => part.at.length || !part.stale);
      return seen.length ? seen : all;
    }
    // The times, then the values of each line, aligned as uPlot wants them.
    data(parts) {
      const thinned = this.feed.step === 0;
      const longest = thinned ? GAP_THINNED_S : this.feed.step * GAP_STEPS;
      const tables = [];
      for (const part of parts) {
        if ("rate" in this.figure.dataset && part.at.length > 1) {
          for (const line of this.lines) {
            const [times, rates] = ratesOf(part.at, part.values[line.name] || []);
            tables.push(withGaps(times, [rates], Math.max(longest, thinned ? 0 : 10)));
          }
        } else {
          const columns = this.lines.map((line) => (part.values[line.name] || []).map((value) => (value === null ? null : value * this.scale)));
          tables.push(withGaps(part.at, columns, longest));
        }
      }
      return tables.length > 1 ? uPlot.join(tables) : tables[0] || [[], ...this.lines.map(() => [])];
    }
    named(parts) {
      const taken = new Set();
      return parts.flatMap((part) =>
        this.lines.map((line) => {
          const label = parts.length < 2 ? line.label : this.lines.length < 2 ? part.label : `${part.label} ${line.label}`;
          return { label, colour: colourOf(label, taken), latest: part.latest[line.name] };
        }),
      );
    }
    show() {
      const parts = this.parts();
      this.showState(parts);
      const named = this.named(parts);
      const labels = named.map((one) => one.label).join("\n");
      const data = this.data(parts);
      if (labels !== this.labels || !this.plot) {
        this.labels = labels;
        this.plot?.destroy();
        this.plot = named.length && this.plotBox.clientWidth ? this.draw(named, data) : null;
      } else {
        this.named_ = named;
        this.plot.setData(data);
      }
      this.showLegend(named);
      const latest = named.map((one) => `${one.label} ${this.format(this.lastOf(one))}`).join(", ");
      this.plotBox.setAttribute("aria-label", `${this.caption}: ${latest || "nothing yet"}`);
    }
    lastOf(one) {
      if ("rate" in this.figure.dataset) return null;
      return one.latest === null || one.latest === undefined ? null : one.latest * this.scale;
    }
    format(value) {
      return number(value, this.unit);
    }
    // Stale, away, or nothing yet: said in words, and the drawing greyed.
    showState(parts) {
      const ages = parts
        .filter((part) => part.stale)
        .map((part) => (part.age_s === null ? Infinity : part.age_s + (Date.now() - part.takenAt) / 1000));
      const old = parts.length > 0 && ages.length === parts.length;
      let text = "";
      if (this.feed.failing) text = `${this.feed.reason} Last seen ${words((Date.now() - this.feed.freshAt) / 1000)} ago.`;
      else if (!parts.length) text = this.feed.cursor === "" && !this.feed.now ? "Reading…" : "No readings yet.";
      else if (old) text = Number.isFinite(Math.min(...ages)) ? `no reading for ${words(Math.min(...ages))}` : "no reading yet";
      else if (ages.length) text = `${ages.length} of ${parts.length}: no reading for ${words(Math.max(...ages))}`;
      this.figure.classList.toggle("chart-old", this.feed.failing || old);
      this.note.hidden = !text;
      setText(this.note, text);
    }
    showLegend(named) {
      if (!this.legend) return;
      if (this.legend.dataset.labels !== this.labels) {
        this.legend.dataset.labels = this.labels;
        this.legend.replaceChildren(
          ...named.map((one) => {
            const item = make("li");
            item.append(make("i", `chart-colour chart-colour-${one.colour}`), make("bdi", "", one.label), make("b", "num"));
            return item;
          }),
        );
        if ("phases" in this.figure.dataset) this.legend.append(this.phaseLegend());
      }
      const at = this.plot?.cursor.idx;
      named.forEach((one, i) => {
        let value = at === null || at === undefined ? undefined : this.plot.data[i + 1]?.[at];
        // Where another line has the time of the pointer, this one's last value before it holds.
        for (let j = at; value === undefined && j >= 0; j--) value = this.plot.data[i + 1]?.[j];
        if (at === null || at === undefined) value = this.lastOf(one) ?? this.lastDrawn(i);
        setText(this.legend.children[i].lastElementChild, this.format(value));
      });
    }
    lastDrawn(i) {
      if (!("rate" in this.figure.dataset) || this.figure.classList.contains("chart-old")) return null;
      const values = this.plot?.data[i + 1] || [];
      for (let j = values.length - 1; j >= 0; j--) if (values[j] !== undefined) return values[j];
      return null;
    }
    phaseLegend() {
      const item = make("li", "chart-phases");
      for (const index of [0, 1, WARM, STEADY, TAIL, 3]) {
        item.append(make("i", `chart-phase chart-phase-${index}`), make("span", "", PHASES[index]));
      }
      return item;
    }
    draw(named, data) {
      this.named_ = named;
      const { spark } = this;
      const stepped = "rate" in this.figure.dataset ? uPlot.paths.stepped({ align: -1 }) : undefined;
      const axis = { stroke: () => variable("--chart-text"), grid: { stroke: () => variable("--chart-grid"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif", labelFont: "11px system-ui, sans-serif" };
      const ends = (u, low, high) => {
        if (this.max !== null) return [this.min, this.max];
        return [Math.min(this.min, low ?? 0), high > 0 ? high * 1.08 : 1];
      };
      return new uPlot(
        {
          width: this.plotBox.clientWidth,
          height: this.height,
          legend: { show: false },
          padding: spark ? [2, 0, 2, 0] : [8, 18, 0, 0],
          cursor: { show: !spark, drag: { x: false, y: false }, points: { size: 6 } },
          scales: { x: { range: (u, low, high) => this.ends(low, high) }, y: { range: ends } },
          axes: spark ? [{ show: false }, { show: false }] : [
            { ...axis, space: 60, size: 26, values: (u, ticks) => ticks.map((at) => this.moment(at)) },
            { ...axis, size: 46, space: 34, label: this.unit || "count", labelSize: 18, labelGap: 2, values: (u, ticks) => ticks.map((tick) => this.tick(tick)) },
          ],
          series: [
            {},
            ...named.map((one) => ({
              label: one.label,
              stroke: () => variable(`--chart-${one.colour}`),
              width: spark ? 1.5 : 1.75,
              paths: stepped,
              spanGaps: false,
              points: { show: true, size: 4, filter: lonely },
            })),
          ],
          hooks: {
            setCursor: spark ? [] : [() => this.plot && this.showLegend(this.named_)],
            drawClear: "phases" in this.figure.dataset ? [(u) => this.shade(u)] : [],
          },
        },
        data,
        this.plotBox,
      );
    }
    moment(at) {
      const span = this.plot ? this.plot.scales.x.max - this.plot.scales.x.min : 900;
      const time = new Date(at * 1000);
      if (span > 2 * 86400) return time.toLocaleDateString("en-GB", { day: "numeric", month: "short" });
      return time.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", ...(span < 300 && { second: "2-digit" }) });
    }
    tick(value) {
      return Math.abs(value) >= 10000 ? `${number(value / 1000)} k` : number(value);
    }
    // The window that was asked for, so that charts beside each other show the same time.
    ends(low, high) {
      if (this.feed.step) return [this.feed.from, this.feed.now];
      return low === null || low === high ? [(low ?? 0) - 30, (high ?? 0) + 30] : [low, high];
    }
    shade(u) {
      const part = this.parts()[0];
      if (!part?.values.phase) return;
      const { total } = part;
      const phaseAt = (i) => {
        const phase = part.values.phase[i];
        if (phase !== RUNNING || !total) return phase;
        const share = ((part.values.completed[i] || 0) + (part.values.failed[i] || 0)) / total;
        return share < 0.1 ? WARM : share < 0.9 ? STEADY : TAIL;
      };
      const { ctx, bbox } = u;
      ctx.save();
      for (let i = 0; i < part.at.length; i++) {
        const phase = phaseAt(i);
        if (phase === null) continue;
        let end = i + 1;
        while (end < part.at.length && phaseAt(end) === phase) end++;
        const left = Math.max(bbox.left, u.valToPos(part.at[i], "x", true));
        const right = Math.min(bbox.left + bbox.width, u.valToPos(part.at[Math.min(end, part.at.length - 1)], "x", true));
        ctx.fillStyle = variable(`--phase-${phase}`);
        if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
        i = end - 1;
      }
      ctx.restore();
    }
    resize() {
      const width = this.plotBox.clientWidth;
      if (!width) return;
      if (!this.plot) this.show();
      else if (width !== this.plot.width) this.plot.setSize({ width, height: this.height });
    }
    // As it is at the moment of opening: a table that moves cannot be read.
    fillTable() {
      this.table.querySelector(".scroll")?.remove();
      if (!this.table.open || !this.plot) return;
      const table = make("table", "table dense");
      const head = table.createTHead().insertRow();
      for (const text of ["Time", ...this.named_.map((one) => (this.unit ? `${one.label}, ${this.unit}` : one.label))]) {
        const cell = make("th", "", text);
        cell.scope = "col";
        head.append(cell);
      }
      const body = table.createTBody();
      const [times, ...columns] = this.plot.data;
      for (let i = times.length - 1, shown = 0; i >= 0 && shown < 500; i--, shown++) {
        const row = body.insertRow();
        row.insertCell().textContent = new Date(times[i] * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
        for (const column of columns) {
          const cell = row.insertCell();
          cell.className = "num";
          cell.textContent = number(column[i]);
        }
      }
      const box = make("div", "scroll");
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", `${this.caption}, data`);
      box.append(table);
      this.table.append(box);
    }
  }

  const charts = new Map();
  const find = () => {
    for (const figure of charts.keys()) if (!figure.isConnected) charts.delete(figure);
    for (const figure of document.querySelectorAll("[data-chart]")) {
      if (charts.has(figure)) continue;
      const chart = new Chart(figure);
      charts.set(figure, chart);
      if (chart.feed.now) chart.show();
    }
    for (const [src, feed] of feeds) {
      for (const chart of feed.charts) if (!chart.figure.isConnected) feed.charts.delete(chart);
      if (!feed.charts.size) feeds.delete(src);
      else if (!feed.now && !feed.failing) feed.ask();
    }
  };
  const askAll = () => feeds.forEach((feed) => feed.ask());
  find();
  setInterval(askAll, EVERY_MS);
  // Ages grow by themselves, also while nothing answers.
  setInterval(() => document.hidden || charts.forEach((chart) => chart.showState(chart.parts())), 1000);
  document.addEventListener("visibilitychange", askAll);
  document.addEventListener("vbatch:patched", find);
  addEventListener("online", askAll);
  new MutationObserver(() => {
    style = null;
    charts.forEach((chart) => chart.plot?.redraw());
  }).observe(document.documentElement, { attributes: true, attributeFilter: ["data-bs-theme"] });
})();
