/* Explore: draws the chart beside the table, goes one step further where it is clicked, and keeps what is being typed when an answer arrives. Without this script the page works by its links and its form. */
"use strict";

(() => {
  const LONGEST_NAME = 36;
  const BARS_AT_MOST = 62; // intervals; more are drawn as lines
  let drawn = null;
  let sentForm = "";
  let open = false;
  let focused = "";

  const $ = (id) => document.getElementById(id);
  // Long names often differ at their end only.
  const shorten = (name) => (name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME / 2)}…${name.slice(1 - LONGEST_NAME / 2)}` : name);
  const getColour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const lighten = (rgb) => rgb.replace(/^rgb\((.*)\)$/, "rgba($1, 0.5)");

  // Thousands apart, every digit as it is: numbers come as texts because a double would lose some.
  function formatExact(text) {
    if (text === null || text === undefined) return "–";
    const [whole, part = ""] = text.split(".");
    const digits = part.replace(/0+$/, "");
    return whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",") + (digits ? `.${digits}` : "");
  }

  // The number as the axis has it: seconds in hours, bytes in the size that suits the chart.
  function formatDrawn(text, { drawn_in: unit, size }) {
    const number = Number(text) / size;
    return `${number.toLocaleString("en", { maximumFractionDigits: Math.abs(number) < 10 ? 2 : 1 })} ${unit}`;
  }

  // What people read comes first: 2,703.6 h (9,732,960 seconds).
  function formatAmount(text, panel) {
    const all = `${formatExact(text)} ${panel.unit}`.trim();
    return panel.drawn_in !== panel.unit && text !== null ? `${formatDrawn(text, panel)} (${all})` : all;
  }

  const toNumbers = (values, { size }) => values.map((value) => (value === null ? null : Number(value) / size));

  function formatTick(value) {
    const format = { notation: Math.abs(value) >= 1e5 ? "compact" : "standard", maximumFractionDigits: 2 };
    return value.toLocaleString("en", format);
  }

  function buildAxes({ drawn_in: unit }, { across, stacked }) {
    const text = { color: getColour("--body-quiet-color") };
    const grid = { color: getColour("--hairline-color") };
    const title = { display: Boolean(unit), text: unit, ...text };
    const numbers = { beginAtZero: true, stacked, grid, title, ticks: { ...text, callback: formatTick } };
    const names = { offset: true, stacked, grid: { display: false }, ticks: { ...text, maxRotation: 0, autoSkipPadding: 12 } };
    if (!across) return { x: names, y: numbers };
    names.ticks = { ...text, autoSkip: false, callback: (_, at) => shorten(drawn ? drawn.data.labels[at] : across[at]) };
    return { x: numbers, y: names };
  }

  // Beyond the eighth the colours come again, lighter.
  function getSeriesColour(series, at, count) {
    if (series.name === "Others" && at === count - 1) return getColour("--series-others");
    const full = getColour(`--series-${(at % 8) + 1}`);
    return at < 8 ? full : lighten(full);
  }

  function buildSeries(panel, type, before) {
    const provisional = panel.days.map((day) => Boolean(day && day.provisional));
    const sets = panel.series.map((series, at) => {
      const full = getSeriesColour(series, at, panel.series.length);
      return {
        label: shorten(series.name),
        query: series.query,
        data: toNumbers(series.values, panel),
        texts: series.values,
        type,
        pointStyle: type === "bar" ? "rect" : "line",
        stack: "now",
        backgroundColor: type === "bar" ? series.values.map((_, place) => (provisional[place] ? lighten(full) : full)) : full,
        borderColor: full,
        borderWidth: type === "bar" ? 0 : 2,
        pointRadius: series.values.length > 40 ? 0 : 2.5,
        tension: 0,
        segment: { borderDash: (part) => (provisional[part.p1DataIndex] ? [5, 4] : undefined) },
      };
    });
    if (panel.before.length) {
      sets.push({
        label: before,
        data: toNumbers(panel.before, panel),
        texts: panel.before,
        type: "line",
        stack: "before",
        borderColor: getColour("--body-quiet-color"),
        backgroundColor: getColour("--body-quiet-color"),
        borderDash: [6, 4],
        borderWidth: 2,
        pointRadius: 0,
        pointStyle: "line",
        order: -1,
      });
    }
    return sets;
  }

  function buildTimeChart(charts, panel, type) {
    const marks = { days: panel.days, notes: charts.notes, colours: { noted: getColour("--body-quiet-color"), missing: getColour("--missing-bg"), provisional: getColour("--provisional-bg"), restated: getColour("--restated-fg") } };
    const footer = (items) => {
      const day = items.length ? panel.days[items[0].dataIndex] : null;
      const notes = (items.length && charts.notes && charts.notes[items[0].dataIndex]) || [];
      return [...(day ? day.words : []), ...notes];
    };
    return {
      data: { labels: charts.labels, datasets: buildSeries(panel, type, charts.before) },
      plugins: [window.exploreMarks],
      options: buildOptions(panel, { exploreMarks: marks, footer, many: panel.series.length + panel.before.length > 1, step: (at) => buildIntervalQuery(charts, at) }, buildAxes(panel, { stacked: panel.stacked && type === "bar" })),
    };
  }

  function buildIntervalQuery({ step, bounds }, at) {
    const [from, to] = bounds[at].map(encodeURIComponent);
    return step.replace("{from}", from).replace("{to}", to);
  }

  function buildBarChart(panel, before) {
    const set = (label, values, fill) => ({ type: "bar", label, pointStyle: "rect", texts: values, data: toNumbers(values, panel), backgroundColor: fill, maxBarThickness: 28 });
    const fills = panel.labels.map((name, at) => getColour(name === "Others" && at === panel.labels.length - 1 ? "--series-others" : "--series-1"));
    const sets = [set(panel.title, panel.values, fills)];
    if (panel.before.length) sets.push(set(before, panel.before, lighten(getColour("--series-1"))));
    const made = {
      data: { labels: panel.labels, datasets: sets },
      options: buildOptions(panel, { many: sets.length > 1, step: (at) => panel.queries[at] }, buildAxes(panel, { across: panel.labels })),
    };
    made.options.indexAxis = "y";
    made.options.interaction = { mode: "nearest", axis: "y", intersect: false };
    return made;
  }

  function buildOptions(panel, { exploreMarks = null, footer = () => [], many, step }, scales) {
    return {
      onClick: (_, found) => found.length && goTo(step(found[0].index)),
      onHover: (event, found) => showPointer(event, found.length && step(found[0].index)),
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      interaction: { mode: "index", intersect: false },
      scales,
      plugins: {
        ...(exploreMarks ? { exploreMarks } : {}),
        legend: {
          display: many,
          position: "bottom",
          onClick: (_, item, { chart }) => goTo(chart.data.datasets[item.datasetIndex].query),
          onHover: (event, item, { chart }) => showPointer(event, chart.data.datasets[item.datasetIndex].query),
          onLeave: (event) => showPointer(event, ""),
          labels: { color: getColour("--body-fg"), boxWidth: 12, boxHeight: 12, usePointStyle: true, pointStyleWidth: 24 },
        },
        tooltip: {
          filter: (item) => item.dataset.texts[item.dataIndex] !== null,
          callbacks: { label: (item) => `${item.dataset.label}: ${formatAmount(item.dataset.texts[item.dataIndex], panel)}`, footer },
        },
      },
    };
  }

  // Where a click leads somewhere, the pointer says so.
  function showPointer({ chart, native }, query) {
    (chart || drawn).canvas.classList.toggle("explore-leads", Boolean(query) && native?.type !== "mouseout");
  }

  function goTo(query) {
    if (!query) return;
    const address = `${window.location.pathname}?${query}`;
    window.htmx.ajax("GET", address, { source: "#explore", target: "#explore", select: "#explore", swap: "outerHTML show:none", push: address });
  }

  function draw() {
    if (drawn) drawn.destroy();
    drawn = null;
    const place = $("explore-chart");
    if (!place || !window.Chart) return;
    const charts = JSON.parse(place.dataset.charts);
    const panel = charts.panels[Number($("chart-panel").value) || 0];
    const type = $("chart-type");
    if (type && !type.dataset.chosen) type.value = charts.labels.length > BARS_AT_MOST || !panel.stacked ? "line" : "bar";
    const config = charts.labels.length ? buildTimeChart(charts, panel, type.value) : buildBarChart(panel, charts.before);
    const canvas = place.querySelector("canvas");
    canvas.setAttribute("aria-label", `Chart: ${panel.title}. The table below has the same numbers.`);
    drawn = new window.Chart(canvas, config);
    canvas.dataset.drawn = panel.title;
    $("chart-png").hidden = false;
  }

  function showAnswer() {
    draw();
    const page = $("explore");
    if (page) showStatus(page.dataset.status, "visually-hidden");
  }

  function showStatus(text, className) {
    $("explore-status").textContent = text;
    $("explore-status").className = className;
  }

  const serializeForm = () => ($("explore-form") ? new URLSearchParams(new FormData($("explore-form"))).toString() : "");

  document.addEventListener("click", (event) => {
    if (event.target.id === "chart-png" && drawn) window.exploreReport.savePng(drawn, $("explore-chart").dataset);
  });
  document.addEventListener("change", (event) => {
    if (event.target.id === "chart-type") event.target.dataset.chosen = "yes";
    if (["chart-type", "chart-panel"].includes(event.target.id)) draw();
  });
  document.addEventListener("htmx:beforeRequest", () => {
    sentForm = serializeForm();
  });
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.target.id !== "explore") return;
    // Another page, such as the one to sign in on: show it whole.
    if (!event.detail.serverResponse.includes('id="explore"')) {
      event.detail.shouldSwap = false;
      window.location.assign(event.detail.pathInfo.finalRequestPath);
      return;
    }
    // A mistake is an answer too: it stands beside its input.
    if (event.detail.xhr.status === 400) {
      event.detail.shouldSwap = true;
      event.detail.isError = false;
    }
    // Somebody went on typing: the next answer is about that, and this one would take it away.
    if (serializeForm() !== sentForm) event.detail.shouldSwap = false;
    open = Boolean($("explore-fold")?.open && document.activeElement?.closest("#explore-fold"));
    focused = document.activeElement?.id || "";
  });
  // The form stays open for whoever is at it, and an input cannot have the focus before it is seen.
  document.addEventListener("htmx:afterSwap", () => {
    if (!open || !$("explore-fold")) return;
    $("explore-fold").open = true;
    $(focused)?.focus({ preventScroll: true });
  });
  document.addEventListener("htmx:sendError", () => showStatus("The portal cannot be reached; try again.", "notice notice-bad"));
  document.addEventListener("htmx:afterSettle", showAnswer);
  document.addEventListener("htmx:historyRestore", showAnswer);
  document.addEventListener("DOMContentLoaded", draw);
  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  for (const media of ["(prefers-color-scheme: dark)", "print"]) window.matchMedia(media).addEventListener("change", draw);
})();
