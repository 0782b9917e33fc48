"use strict";

// Replaces each drawn chart with one that follows the pointer. Its labels are those of the drawing, and its values those
// of the table below it: the server has written them, and they are converted only to be drawn.
(() => {
  const DAY = 86400; // seconds
  const toDate = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);
  const toSeconds = (date) => Date.parse(`${date}T00:00:00Z`) / 1000;

  function read(figure) {
    const keys = [...figure.querySelectorAll("thead th[data-key]")].map((cell) => cell.dataset.key);
    const rows = [...figure.querySelectorAll("tbody tr")].map((row) => ({
      date: row.querySelector("time").dateTime,
      cells: [...row.querySelectorAll("data")],
    }));
    const amounts = keys.map((_, column) => rows.map((row) => Number(row.cells[column].value)));
    const days = rows.map((row) => toSeconds(row.date));
    days.push(toSeconds(figure.dataset.last) + DAY); // the last balance holds until the end of the last day
    for (const column of amounts) column.push(column[column.length - 1]);
    return { keys, rows, days, amounts };
  }

  // An axis with the labels of the drawing.
  function labeled(labels, at) {
    const shown = labels.filter((each) => getComputedStyle(each).display !== "none");
    const positions = shown.map(at);
    const texts = shown.map((each) => each.textContent);
    return { positions, texts, axis: { splits: () => positions, values: () => texts, incrs: [Number.MAX_VALUE], space: 0 } };
  }

  // The far edge of each area: its own amounts on top of those before it that have the same sign.
  function stack(columns) {
    const above = columns[0].map(() => 0);
    const below = columns[0].map(() => 0);
    return columns.map((column) =>
      column.map((amount, i) => (amount < 0 ? (below[i] += amount) : amount > 0 ? (above[i] += amount) : 0)),
    );
  }

  function draw(figure) {
    const { keys, rows, days, amounts } = read(figure);
    if (!rows.length) return;
    const still = figure.querySelector(".drawing");
    const holder = document.createElement("div");
    holder.className = "chart-live";
    holder.setAttribute("aria-hidden", "true"); // the table has the values
    still.after(holder);
    figure.classList.add("live");
    const readout = new Map([...figure.querySelectorAll("[data-value-of]")].map((each) => [each.dataset.valueOf, each]));
    const shown = figure.querySelector("[data-shown-date]");
    const stacked = keys.slice(1);
    const tops = stack(amounts.slice(1).length ? amounts.slice(1) : [amounts[0]]);
    const areas = stacked.length ? stacked : [keys[0]];

    function options(width) {
      const style = getComputedStyle(figure);
      const color = (name) => style.getPropertyValue(`--chart-${name}`).trim();
      const font = `12px ${style.fontFamily}`;
      const steps = uPlot.paths.stepped({ align: 1 });
      const axis = { stroke: color("text"), font, ticks: { show: false }, grid: { stroke: color("grid"), width: 1 } };
      const area = (key) => ({ fill: color(key), stroke: color("gap"), width: 1, fillTo: 0, paths: steps, points: { show: false } });
      const dates = labeled([...still.querySelectorAll(".plot text")], (each) => toSeconds(each.dataset.day));
      const heights = labeled([...still.querySelectorAll(".amounts text")], (each) => Number(each.dataset.amount));
      const marks = [["today", figure.dataset.today], ["chosen", figure.dataset.date]];
      return {
        width,
        height: 290,
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        legend: { show: false },
        cursor: {
          y: false,
          drag: { x: false, y: false },
          points: { show: false },
        },
        scales: {
          x: { time: true, range: () => [days[0], days[days.length - 1]] },
          y: { range: () => [heights.positions[0], heights.positions[heights.positions.length - 1]] },
        },
        axes: [
          { ...axis, ...dates.axis, size: 32 },
          { ...axis, ...heights.axis, size: 16 + 7 * Math.max(...heights.texts.map((each) => each.length)) },
        ],
        series: [{}, ...[...areas].reverse().map(area), { stroke: color("line"), width: 2, paths: steps, points: { show: false } }],
        hooks: {
          draw: [
            (u) => {
              for (const [name, date] of marks) {
                const seconds = date ? toSeconds(date) : NaN;
                if (!(seconds >= days[0] && seconds < days[days.length - 1])) continue;
                const x = Math.round(u.valToPos(seconds, "x", true));
                u.ctx.save();
                u.ctx.strokeStyle = color(name);
                u.ctx.lineWidth = 2 * devicePixelRatio;
                u.ctx.setLineDash(name === "today" ? [6 * devicePixelRatio, 4 * devicePixelRatio] : []);
                u.ctx.beginPath();
                u.ctx.moveTo(x, u.bbox.top);
                u.ctx.lineTo(x, u.bbox.top + u.bbox.height);
                u.ctx.stroke();
                u.ctx.restore();
              }
            },
          ],
          setCursor: [
            (u) => {
              const row = u.cursor.left >= 0 ? holding(u) : null;
              for (const [key, each] of readout) {
                each.replaceChildren(...(row ? [row.cells[keys.indexOf(key)].cloneNode(true)] : []));
              }
              if (shown) shown.textContent = row ? pointed(u, row) : "";
            },
          ],
        },
      };
    }

    // The last row whose day is not after the pointer: its balance holds there.
    function holding(u) {
      const seconds = toSeconds(under(u));
      const closest = u.valToIdx(seconds);
      return rows[Math.min(days[closest] > seconds ? closest - 1 : closest, rows.length - 1)];
    }

    // Between two sampled points the balance is not known here, so the point's own date is shown.
    const pointed = (u, row) => (figure.dataset.sampled ? row.date : under(u));
    function under(u) {
      const last = days[days.length - 1] - DAY;
      return toDate(Math.min(Math.max(u.posToVal(u.cursor.left, "x"), days[0]), last + DAY - 1));
    }

    let chart = null;
    function redraw() {
      const width = figure.clientWidth;
      if (!width) return;
      if (chart) chart.destroy();
      chart = new uPlot(options(width), [days, ...[...tops].reverse(), amounts[0]], holder);
      chart.over.addEventListener("click", () => {
        if (figure.dataset.href && chart.cursor.left >= 0) location.assign(figure.dataset.href.replace("=DATE", "=" + under(chart)));
      });
    }
    redraw();
    let width = figure.clientWidth;
    new ResizeObserver(() => {
      if (figure.clientWidth !== width) {
        width = figure.clientWidth;
        redraw();
      }
    }).observe(figure);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  for (const figure of document.querySelectorAll("figure.chart")) draw(figure);
})();
