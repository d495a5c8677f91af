/* Fits the figures of a page to the screen, and keeps the buttons above a figure consistent with one another. */
(function () {
  "use strict";
  const NARROW = window.matchMedia("(max-width: 699px)");
  const PANEL_GAP = 96; // px between panels one below the other: labels and title of an axis, title of the next panel
  const LEGEND_GUESS = 420; // px for a legend that is not measured yet: Plotly gives it at most half of the figure
  const LONG_TITLE = 46; // characters of a panel's title that fit the width of a phone
  const plans = new Map(); // of each figure: its sides at first, side by side

  let working = 0; // pieces of work that change figures

  /* Run some work; ``data-fitted`` is on the page whenever there is none. */
  async function run(work) {
    working += 1;
    delete document.documentElement.dataset.fitted;
    try { await work(); } finally { working -= 1; }
    if (!working) document.documentElement.dataset.fitted = NARROW.matches ? "narrow" : "wide";
  }

  const axis = (letter, i) => letter + "axis" + (i ? i + 1 : "");
  const twoLines = (text) => (NARROW.matches ? text.replace(", ", ",<br>") : text);

  function plan(gd) {
    if (!plans.has(gd)) {
      const { layout } = gd, { panels } = layout.meta.fit;
      plans.set(gd, {
        ...layout.meta.fit,
        domains: Array.from({ length: panels }, (_, i) => (layout[axis("x", i)] || {}).domain || [0, 1]),
        names: Array.from({ length: panels }, (_, i) => ((layout.annotations || [])[i] || {}).text || ""),
        labels: layout.meta.fit.names,
        left: (layout.margin || {}).l || 64,
        titles: Array.from({ length: panels }, (_, i) => ((layout[axis("x", i)] || {}).title || {}).text || ""),
      });
    }
    return plans.get(gd);
  }

  /* Lowest pixel of what belongs to the axes, below the panels. */
  function axesEnd(gd) {
    const parts = gd.querySelectorAll(".xaxislayer-above, .xaxislayer-below, [class^='x'][class$='title']");
    const ends = [...parts].map((part) => part.getBoundingClientRect()).filter((box) => box.height);
    return Math.max(0, ...ends.map((box) => box.bottom)) - gd.getBoundingClientRect().top;
  }

  const shortened = (name) => (NARROW.matches && name.length > LONG_TITLE ? name.replace(": ", ":<br>") : name);

  /* Upper end and height of each panel, and the height of all of them, in pixels. */
  function stacked(cells, aspect, width) {
    const narrow = NARROW.matches, rows = new Map();
    cells.forEach(([row, , wide, small], i) => {
      const high = aspect ? Math.round(aspect * width) : narrow ? small : wide, key = narrow ? i : row;
      rows.set(key, Math.max(rows.get(key) || 0, high));
    });
    let end = -PANEL_GAP;
    const tops = new Map([...rows].map(([key, high]) => {
      const upper = end + PANEL_GAP;
      end = upper + high;
      return [key, upper];
    }));
    const keys = cells.map(([row], i) => (narrow ? i : row));
    return { inner: end, panels: keys.map((key) => ({ upper: tops.get(key), high: rows.get(key) })) };
  }

  /* Ends of a panel across, as shares of the width of all of them. */
  function across(fit, i, width) {
    if (NARROW.matches) return [0, 1];
    if (fit.gap === null) return fit.domains[i];
    const column = (width - (fit.columns - 1) * fit.gap) / fit.columns, left = fit.cells[i][1] * (column + fit.gap);
    return [left / width, Math.min(1, (left + column) / width)];
  }

  /* What changes at the axes and the title of a panel. */
  function panelChange(fit, i, domain, upright) {
    const narrow = NARROW.matches, change = {};
    for (const letter of ["x", "y"]) {
      const name = axis(letter, i);
      change[name + ".domain"] = letter === "x" ? domain : upright;
      change[name + ".title.font.size"] = narrow ? 12 : fit.gap === null ? 14 : 12;
      change[name + ".tickfont.size"] = narrow ? 11 : fit.gap === null ? 13 : 12;
    }
    if (fit.titled) {
      change[axis("y", i) + ".showticklabels"] = narrow || !fit.unnamed.includes(i);
      Object.assign(change, { [`annotations[${i}].x`]: domain[0], [`annotations[${i}].y`]: upright[1] });
      change[`annotations[${i}].text`] = shortened(fit.names[i]);
    }
    change[axis("x", i) + ".title.text"] = twoLines(fit.titles[i]);
    return change;
  }

  async function fit(gd) {
    const own = plan(gd), { cells, aspect, width, left, ranges, labels, bars } = own, narrow = NARROW.matches;
    const box = gd.parentElement.clientWidth, change = {};
    const margin = { l: narrow ? Math.round(0.8 * left) : left, r: (narrow ? 8 : 16) + own.bar };
    const outer = width ? Math.min(box, width + margin.l + margin.r) : box, wide = outer - margin.l - margin.r;
    const { inner, panels } = stacked(cells, aspect, wide);
    const top = own.top + (own.titled && shortened(own.names[0]) !== own.names[0] ? 16 : 0);
    const places = panels.map(({ upper, high }, i) => ({
      domain: across(own, i, wide), upright: [Math.max(0, 1 - (upper + high) / inner), 1 - upper / inner],
    }));
    places.forEach(({ domain, upright }, i) => Object.assign(change, panelChange(own, i, domain, upright)));
    if (aspect) change["yaxis.scaleanchor"] = false; // or the sides would be stretched until all is measured
    Object.assign(change, { "margin.l": margin.l, "margin.r": margin.r, "margin.t": top, width: outer });
    const below = { "margin.b": LEGEND_GUESS, height: top + inner + LEGEND_GUESS };
    await Plotly.relayout(gd, { ...change, ...below });
    const legend = gd.querySelector(".legend .bg"), high = legend ? legend.getBBox().height : 0;
    const end = Math.ceil(axesEnd(gd)) - top - inner + 12; // px from the panels to the legend
    const settled = { ...ranges, "margin.b": end + high + 14, height: top + inner + end + high + 14 };
    settled["legend.y"] = -end / inner;
    if (aspect) settled["yaxis.scaleanchor"] = "x";
    gd.style.height = settled.height + "px"; // Plotly's own is that of the first drawing
    await Plotly.relayout(gd, settled);
    if (labels.length) await Plotly.restyle(gd, { mode: narrow ? "markers" : "markers+text" }, labels);
    if (bars.length) await Plotly.restyle(gd, {
      "colorbar.x": bars.map(([, i]) => places[i].domain[1]),
      "colorbar.y": bars.map(([, i]) => (places[i].upright[0] + places[i].upright[1]) / 2),
      "colorbar.len": bars.map(([, i]) => places[i].upright[1] - places[i].upright[0]),
    }, bars.map(([trace]) => trace));
  }

  /* ---- buttons ---- */

  function control(box) {
    const gd = document.getElementById(box.dataset.figure);
    const { units, views } = JSON.parse(box.querySelector("script").textContent);
    const data = gd.data.map(({ x, y, text }) => ({ x, y, text })); // as they were drawn, in absolute distances
    const state = { unit: "0", view: "all", bits: "" };

    const length = () => units[Number(state.unit)].length;
    const panels = plan(gd).panels;

    function chosenRanges(before) {
      if (state.view) {
        const { x, y } = state.view === "points" ? views.points[state.bits] : views[state.view];
        return { x: x.map((end) => end / length()), y };
      }
      const { xaxis, yaxis } = gd.layout; // a part that was chosen by hand stays, in the new unit
      return { x: xaxis.range.map((end) => (end * before) / length()), y: [...yaxis.range] };
    }

    function shown(trace, hidden) {
      const { meta } = trace;
      if (meta && "bits" in meta && state.bits && meta.bits && String(meta.bits) !== state.bits) return false;
      return trace.showlegend || !hidden.has(trace.legendgroup) ? trace.visible === "legendonly" && trace.showlegend
        ? "legendonly" : true : "legendonly";
    }

    function label(trace, i) {
      const { meta } = trace;
      if (!meta || !meta.bare) return data[i].text;
      const view = [state.view === "points" ? "points" : "all", state.bits, NARROW.matches ? "narrow" : "wide"];
      return meta.bare.includes(view.join(" ")) ? [""] : meta.label;
    }

    const heading = (trace, [low, high]) => high - trace.meta.heading * (high - low);

    async function draw(before) {
      const ranges = chosenRanges(before), change = {};
      const hidden = new Set(gd.data.filter((t) => t.showlegend && t.visible === "legendonly").map((t) => t.legendgroup));
      const traces = {
        x: data.map(({ x }) => x.map((value) => (value === null ? null : value / length()))),
        y: data.map(({ y }, i) => ((gd.data[i].meta || {}).heading ? y.map(() => heading(gd.data[i], ranges.y)) : y)),
        text: gd.data.map(label),
        visible: gd.data.map((trace) => shown(trace, hidden)),
      };
      for (let i = 0; i < panels; i++) {
        plan(gd).titles[i] = units[Number(state.unit)].title;
        change[axis("x", i) + ".title.text"] = twoLines(plan(gd).titles[i]);
        change[axis("x", i) + ".range"] = ranges.x;
        change[axis("y", i) + ".range"] = ranges.y;
      }
      await Plotly.update(gd, traces, change);
      press();
    }

    function press() {
      for (const button of box.querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(state[button.dataset.group] === button.value));
      }
    }

    box.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const before = length();
      state[button.dataset.group] = button.value;
      run(async () => { await draw(before); await fit(gd); }); // the title of the axis may take a line more
    });
    gd.on("plotly_doubleclick", () => { state.view = "all"; run(() => draw(length())); });
    gd.on("plotly_relayout", (change) => {
      if (!Object.keys(change).some((key) => /^[xy]axis\d*\.range/.test(key))) return;
      state.view = ""; // dragged by hand
      press();
    });
    return () => draw(length());
  }

  async function start() {
    const fitted = [...document.querySelectorAll(".plotly-graph-div")].filter((gd) => ((gd.layout || {}).meta || {}).fit);
    const redraw = [...document.querySelectorAll(".controls")].map(control);
    async function all() {
      for (const gd of fitted) await fit(gd);
      for (const again of redraw) await again();
    }
    let width = window.innerWidth, running = run(all);
    window.addEventListener("resize", () => {
      if (window.innerWidth === width) return; // a phone hides its address bar
      width = window.innerWidth;
      running = run(() => running.then(all));
    });
    await running;
  }
  start();
})();
