/* How far the days of a chart can be trusted, drawn on it: missing days hatched, provisional ones on a tint, restated
   ones with a triangle; days with a note have a flag. A plugin of Chart.js; `options.days` has by interval `{missing, provisional, restated}` or null,
   `options.notes` the texts of the notes. */
"use strict";

window.exploreMarks = (() => {
  const TRIANGLE = 5;

  function createHatching(context, colour) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const pen = tile.getContext("2d");
    pen.strokeStyle = colour;
    pen.lineWidth = 2;
    pen.beginPath();
    for (const shift of [-8, 0, 8]) {
      pen.moveTo(shift, 8);
      pen.lineTo(shift + 8, 0);
    }
    pen.stroke();
    return context.createPattern(tile, "repeat");
  }

  function listPlaces(chart, days) {
    const axis = chart.scales.x;
    const width = chart.data.labels.length > 1 ? axis.getPixelForValue(1) - axis.getPixelForValue(0) : axis.width;
    return days.map((day, at) => ({ day, middle: axis.getPixelForValue(at), width })).filter((place) => place.day);
  }

  return {
    id: "exploreMarks",
    beforeDatasetsDraw(chart, _, options) {
      const { ctx, chartArea } = chart;
      const pattern = createHatching(ctx, options.colours.missing);
      for (const { day, middle, width } of listPlaces(chart, options.days)) {
        if (!day.missing && !day.provisional) continue;
        ctx.fillStyle = day.missing ? pattern : options.colours.provisional;
        ctx.fillRect(middle - width / 2, chartArea.top, width, chartArea.bottom - chartArea.top);
      }
    },
    afterDatasetsDraw(chart, _, options) {
      const { ctx, chartArea } = chart;
      ctx.fillStyle = options.colours.noted;
      for (const { day: texts, middle } of listPlaces(chart, options.notes || [])) {
        if (!texts.length) continue;
        ctx.fillRect(middle - 1, chartArea.top, 2, chartArea.bottom - chartArea.top);
        ctx.fillRect(middle - 1, chartArea.top, 2 * TRIANGLE, 1.4 * TRIANGLE);
      }
      ctx.fillStyle = options.colours.restated;
      for (const { day, middle } of listPlaces(chart, options.days)) {
        if (!day.restated) continue;
        ctx.beginPath();
        ctx.moveTo(middle - TRIANGLE, chartArea.top);
        ctx.lineTo(middle + TRIANGLE, chartArea.top);
        ctx.lineTo(middle, chartArea.top + 1.6 * TRIANGLE);
        ctx.fill();
      }
    },
  };
})();
