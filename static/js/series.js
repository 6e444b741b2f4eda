// Series of samples as `/api/series` tells them: asked for every two seconds, and only what is new.
(() => {
  "use strict";
  const EVERY_MS = 2000;
  const TIMEOUT_MS = 10000;
  const MOST_POINTS = 6000; // of one series, before a page that is open for days asks anew

  // What is known of one address, and the charts that draw it.
  class Feed {
    constructor(src) {
      this.src = src;
      this.charts = new Set();
      this.reset();
      this.failing = false;
      this.reason = "";
      this.freshAt = Date.now();
      this.asking = false;
    }
    reset() {
      this.cursor = "";
      this.series = new Map();
      this.step = 2;
    }
    async ask() {
      if (document.hidden || this.asking) return;
      this.asking = true;
      try {
        const address = new URL(this.src, location.href);
        if (this.cursor) address.searchParams.set("since", this.cursor);
        const response = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(TIMEOUT_MS) });
        if (response.status === 401) {
          location.reload(); // logged out: the page itself says so
          return;
        }
        if (response.status === 200) this.take(await response.json(), address.searchParams.has("since"));
        else if (response.status === 304) this.move((Date.now() - this.freshAt) / 1000);
        else throw new Error(response.status === 404 ? "It is no longer there." : `The server answers ${response.status}.`);
        this.failing = false;
        this.freshAt = Date.now();
      } catch (error) {
        this.reason = error.name === "Error" ? error.message : "The server does not answer.";
        this.failing = true;
      } finally {
        this.asking = false;
        for (const chart of this.charts) {
          if (!chart.figure.isConnected) this.charts.delete(chart);
          else chart.show();
        }
      }
    }
    // Nothing new, but time has passed: the window goes with it.
    move(seconds) {
      this.now += seconds;
      this.from += seconds;
    }
    take(answer, isMore) {
      this.step = answer.step_s;
      this.cursor = answer.cursor;
      const minutes = Number(new URL(this.src, location.href).searchParams.get("minutes")) || 15;
      const from = answer.step_s ? answer.now - minutes * 60 : 0;
      const before = this.series;
      this.series = new Map();
      this.now = answer.now;
      this.from = from;
      for (const part of answer.series) {
        const old = isMore && before.get(part.id);
        if (old) {
          part.at = old.at.concat(part.at);
          for (const name in part.values) part.values[name] = old.values[name].concat(part.values[name]);
        }
        const first = part.at.findIndex((at) => at >= from);
        if (first > 0) {
          part.at = part.at.slice(first);
          for (const name in part.values) part.values[name] = part.values[name].slice(first);
        }
        part.takenAt = Date.now();
        this.series.set(part.id, part);
        if (part.at.length > MOST_POINTS) this.cursor = "";
      }
    }
  }
  const feeds = new Map();
  const feedOf = (src) => {
    if (!feeds.has(src)) feeds.set(src, new Feed(src));
    return feeds.get(src);
  };

  // Counters as their change per second.
  const ratesOf = (at, values) => {
    // Not over less than a two hundredth of the time shown: groups of answers come in jerks.
    const least = Math.max(4, (at[at.length - 1] - at[0]) / 200);
    const times = [];
    const rates = [];
    let from = 0;
    for (let i = 1; i < at.length; i++) {
      const span = at[i] - at[from];
      if (span < least && i < at.length - 1) continue;
      const known = values[i] !== null && values[from] !== null && span > 0;
      times.push(at[i]);
      rates.push(known ? Math.max(0, (values[i] - values[from]) / span) : null);
      from = i;
    }
    return [times, rates];
  };
  // A hole in time is a gap of the line: an empty value stands in it.
  const withGaps = (at, columns, longest) => {
    const times = [];
    const found = columns.map(() => []);
    for (let i = 0; i < at.length; i++) {
      if (i && at[i] - at[i - 1] > longest) {
        times.push(at[i - 1] + longest / 2);
        for (const column of found) column.push(null);
      }
      times.push(at[i]);
      columns.forEach((column, c) => found[c].push(column[i] ?? null));
    }
    return [times, ...found];
  };
  window.vbatchSeries = { EVERY_MS, feeds, feedOf, ratesOf, withGaps };
})();
