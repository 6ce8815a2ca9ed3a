/* A chart of Explore as a picture to put into a report: its title, what it is of, the chart, and how far it can be trusted. */
"use strict";

window.exploreReport = (() => {
  const MARGIN = 24;
  const FONT = "system-ui, sans-serif";

  // The lines of a text that is not to be wider than so much.
  function wrap(pen, text, width) {
    const lines = [""];
    for (const word of text.split(/\s+/)) {
      const longer = `${lines.at(-1)} ${word}`.trim();
      if (pen.measureText(longer).width <= width || !lines.at(-1)) lines[lines.length - 1] = longer;
      else lines.push(word);
    }
    return lines;
  }

  function drawPicture(chart, { title, details, quality }) {
    const style = getComputedStyle(document.documentElement);
    const getColour = (name) => style.getPropertyValue(name).trim();
    const ratio = chart.currentDevicePixelRatio;
    const width = chart.width + 2 * MARGIN;
    const canvas = document.createElement("canvas");
    const pen = canvas.getContext("2d");
    const texts = [
      [`${title}: ${chart.canvas.dataset.drawn}`, `600 18px ${FONT}`, getColour("--body-fg"), 25],
      [details, `13px ${FONT}`, getColour("--body-quiet-color"), 19],
    ];
    const last = [quality, `12px ${FONT}`, getColour("--body-quiet-color"), 17];
    const blocks = [...texts, last].map(([text, font, fill, height]) => {
      pen.font = font;
      return { font, fill, height, lines: wrap(pen, text, chart.width) };
    });
    const heights = blocks.map(({ lines, height }) => lines.length * height);
    canvas.width = width * ratio;
    canvas.height = (heights.reduce((sum, height) => sum + height) + chart.height + 3 * MARGIN) * ratio;
    pen.scale(ratio, ratio);
    pen.fillStyle = getColour("--body-bg");
    pen.fillRect(0, 0, canvas.width, canvas.height);
    let top = MARGIN;
    const write = ({ font, fill, height, lines }) => {
      pen.font = font;
      pen.fillStyle = fill;
      pen.textBaseline = "top";
      for (const line of lines) {
        pen.fillText(line, MARGIN, top);
        top += height;
      }
    };
    blocks.slice(0, -1).forEach(write);
    top += MARGIN / 2;
    pen.drawImage(chart.canvas, MARGIN, top, chart.width, chart.height);
    top += chart.height + MARGIN / 2;
    write(blocks.at(-1));
    return canvas;
  }

  function savePng(chart, caption) {
    drawPicture(chart, caption).toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = `${caption.title} ${caption.details.split(" · ")[0]}.png`.replace(/[^\p{L}\p{N}.]+/gu, "-").toLowerCase();
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    });
  }

  return { savePng };
})();
