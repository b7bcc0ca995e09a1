"use strict";
document.documentElement.classList.add("scripted");

/* Tables: a click on a heading sorts; what has no value stays at the end. */
function sortBy(table, column, heading) {
  const up = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const numeric = heading.classList.contains("number");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => {
    const text = row.cells[column].dataset.v;
    const value = numeric ? parseFloat(text) : text;
    return { row, value, missing: numeric ? Number.isNaN(value) : text === "" };
  });
  const order = new Intl.Collator(undefined, { numeric: true });
  rows.sort((a, b) => {
    if (a.missing || b.missing) return a.missing - b.missing;
    const difference = numeric ? a.value - b.value : order.compare(a.value, b.value);
    return up ? difference : -difference;
  });
  body.append(...rows.map((each) => each.row));
}
for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click",
      () => sortBy(table, column, heading));
  });
}

/* Filters: a row stays if it has all the words. */
for (const box of document.querySelectorAll("[data-filter]")) {
  const rows = Array.from(document.getElementById(box.dataset.filter).tBodies[0].rows);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const count = document.querySelector(`[data-count="${box.dataset.filter}"]`);
  box.addEventListener("input", () => {
    const words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, i) => {
      row.hidden = !words.every((word) => texts[i].includes(word));
      shown += !row.hidden;
    });
    count.textContent = `${shown} of ${rows.length}`;
  });
}

/* Charts: names in legends hide their curves; the nearest point says what it is. */
const tip = document.getElementById("tip");
let marked = null;
function unmark() {
  if (marked) marked.classList.remove("marked");
  marked = null;
  tip.hidden = true;
}
function mark(point, event) {
  if (marked !== point) {
    unmark();
    marked = point;
    point.classList.add("marked");
    tip.textContent = point.dataset.tip;
  }
  tip.hidden = false;
  const width = document.documentElement.clientWidth;
  const left = Math.min(event.clientX + 14, width - tip.offsetWidth - 8);
  const above = event.clientY - tip.offsetHeight - 12;
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${above < 4 ? event.clientY + 18 : above}px`;
}
for (const chart of document.querySelectorAll("figure.chart")) {
  const image = chart.querySelector("svg");
  const points = Array.from(image.querySelectorAll("[data-tip]"));
  const places = points.map((p) => [Number(p.dataset.x), Number(p.dataset.y)]);
  const find = (event) => {
    const box = image.getBoundingClientRect();
    const scale = image.viewBox.baseVal.width / box.width;
    const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
    let best = null, nearest = 26 * Math.max(1, scale);
    points.forEach((point, i) => {
      const distance = Math.hypot(places[i][0] - x, places[i][1] - y);
      if (distance < nearest && !point.parentNode.classList.contains("off")) {
        best = point;
        nearest = distance;
      }
    });
    if (best) mark(best, event); else unmark();
  };
  image.addEventListener("pointermove", find);
  image.addEventListener("pointerdown", find);
  image.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") unmark();
  });
  for (const button of chart.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const off = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!off));
      image.querySelector(`g[data-series="${button.dataset.series}"]`).classList.toggle("off", off);
    });
  }
}
addEventListener("scroll", unmark, { passive: true });

/* What scrolls sideways says so while there is more to the right. */
const sideways = Array.from(document.querySelectorAll(".scroll, nav"));
const hint = (box) =>
  box.classList.toggle("wider", box.scrollLeft + box.clientWidth < box.scrollWidth - 4);
for (const box of sideways) {
  hint(box);
  box.addEventListener("scroll", () => hint(box), { passive: true });
}
addEventListener("resize", () => sideways.forEach(hint));
for (const folded of document.querySelectorAll("details")) {
  folded.addEventListener("toggle", () => folded.querySelectorAll(".scroll").forEach(hint));
}
