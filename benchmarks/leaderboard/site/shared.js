"use strict";
// What entries, models and environments say enters a page through text nodes and attributes' values only, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = id => document.getElementById(id);
const MINUS = "\u2212", DASH = "\u2013", ALIKE = "\u2248", INFINITE = "\u221e";

function fillIn(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value != null) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter(child => child != null));  // strings become text nodes
  return node;
}
const make = (tag, attributes = {}, ...children) => fillIn(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => fillIn(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// ---- numbers ----
const signed = text => text.replace(/^-(0\.?0*$)/, "$1").replace("-", MINUS);
const unit = value => signed(value.toFixed(2));
const plain = value => signed(String(Number(value.toPrecision(4))));
const money = value => signed(String(Number(value.toPrecision(2))));
const amount = value => value >= 999500 ? `${(value / 1e6).toFixed(1)}M` : value >= 1000 ? `${(value / 1e3).toFixed(1)}k` : value.toFixed(0);
const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
const range = ([, low, high], format) => `[${low == null ? INFINITE : format(low)}, ${high == null ? INFINITE : format(high)}]`;
const words = (estimate, format) => `${format(estimate[0])} ${range(estimate, format)}`;

// A score, its interval in figures, and both as a bar between the ends of a scale.
function score(estimate, format, ends) {
  if (!estimate) return [make("span", { class: "dim" }, DASH)];
  return [make("div", { class: "score" }, make("b", {}, format(estimate[0])), " ", ends ? bar(estimate, ends) : null),
    make("div", { class: "range" }, range(estimate, format))];
}

function bar([value, low, high], [from, to]) {
  const place = number => `${(100 * Math.min(1, Math.max(0, ((number ?? to) - from) / (to - from)))).toFixed(2)}%`;
  const line = (kind, a, b, y1 = 5, y2 = 5) => svg("line", { class: kind, x1: a, x2: b, y1, y2 });
  return svg("svg", { class: "bar", "aria-hidden": "true" }, line("track", "0%", "100%"),
    from < 0 ? line("zero", place(0), place(0), 1, 9) : null, line("range", place(low), place(high)),
    svg("circle", { class: "point", cx: place(value), cy: 5, r: 2.4 }));
}

// ---- tables ----
// Columns: title, draw(row) and, if it can be sorted by, value(row); `down` sorts from the highest first; `head` names the row.
function sortable({ label, columns, rows, by = null, down = false, most = Infinity, rowClass = () => null }) {
  const body = make("tbody");
  const heads = columns.map((column, index) => make("th", { scope: "col", title: column.hint, class: column.wrapped && "wrapped" },
    column.value ? make("button", { type: "button", onclick: () => sortBy(index) }, column.title, make("span", { class: "arrow", "aria-hidden": "true" }))
      : column.title));
  const more = make("button", { type: "button", class: "more", onclick: () => { most = Infinity; redraw(); } });
  const scroll = make("div", { class: "scroll", role: "region", "aria-label": label, tabindex: 0 },
    make("table", { "aria-label": label }, make("thead", {}, make("tr", {}, heads)), body));
  let order = by, falling = down;

  function sortBy(index) {
    falling = order === index ? !falling : Boolean(columns[index].down);
    order = index;
    redraw();
  }

  function sorted() {
    if (order == null) return rows;
    const value = columns[order].value;
    const compare = (a, b) => typeof a === "string" ? a.localeCompare(b, "en") : a - b;
    return rows.toSorted((one, other) => {
      const [a, b] = [value(one), value(other)];
      if (a == null || b == null) return (a == null) - (b == null);  // what is not known stands last either way
      return falling ? compare(b, a) : compare(a, b);
    });
  }

  function redraw() {
    heads.forEach((head, index) => {
      if (!columns[index].value) return;
      const state = index !== order ? "none" : falling ? "descending" : "ascending";
      head.setAttribute("aria-sort", state);
      head.querySelector(".arrow").textContent = { none: "\u2195", ascending: "\u25b2", descending: "\u25bc" }[state];
    });
    body.replaceChildren(...sorted().slice(0, most).map(row => make("tr", { class: rowClass(row) }, columns.map(column =>
      make(column.head ? "th" : "td", { scope: column.head ? "row" : null, class: column.kind ?? null }, column.draw(row))))));
    more.hidden = rows.length <= most;
    more.textContent = `Show all ${rows.length.toLocaleString("en")}`;
  }

  redraw();
  return { node: make("div", { class: "card" }, scroll, more), show(wanted) { rows = wanted; redraw(); } };
}

const best = (title, key, format, ends, hint, down = true) => ({
  title, hint, down, kind: "number", value: row => row[key]?.[0], draw: row => score(row[key], format, ends),
});

// ---- plots ----
const SHAPES = [
  "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "M-3.5-3.5h7v7h-7z", "M0-4.8L4.6 3.6H-4.6z", "M0-5L5 0L0 5L-5 0z", "M0 4.8L4.6-3.6H-4.6z",
  "M-1.5-4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z", "M-4.2-2.2h8.4v4.4h-8.4z", "M-2.2-4.2h4.4v8.4h-4.4z",
];
const DASHES = [null, "6 2.5", "2 2", "8 2.5 2 2.5"];
// Entries beyond the eighth take the colours again with another dash.
const look = number => ({
  style: number == null ? "series" : `series look-${number % 8}`,
  shape: SHAPES[number == null ? 6 : number % 8],
  dash: number == null ? "3 3" : DASHES[Math.floor(number / 8) % 4],
});

function sample(number) {
  const { style, shape, dash } = look(number);
  return svg("svg", { class: `sample ${style}`, "aria-hidden": "true" }, svg("line", { class: "line", x1: 0, x2: 26, y1: 6, y2: 6, "stroke-dasharray": dash }),
    svg("path", { class: "mark", d: shape, transform: "translate(13 6)" }));
}

const legend = series => make("ul", { class: "legend" }, series.map(one => make("li", {}, sample(one.number), make("bdi", {}, one.name))));

const FRAME = { width: 340, height: 200, left: 30, right: 12, top: 8, bottom: 32 };

// Series: name, number of its look, points [x, estimate, words]; with `bands` intervals are areas, else whiskers beside each other.
function plot({ label, xTicks, xTitle, series, bands = false }) {
  const { width, height, left, right, top, bottom } = FRAME;
  const [first, last] = [xTicks[0], xTicks.at(-1)];
  const scale = first > 0 && last / first > 3 ? Math.log : value => value;
  const inset = bands ? 0 : 16;
  const x = value => left + inset + (width - left - right - 2 * inset) * (scale(value) - scale(first)) / (scale(last) - scale(first));
  const y = value => top + (height - top - bottom) * (1 - value);
  const drawn = series.map((one, index) => {
    const { style, shape, dash } = look(one.number);
    const aside = bands ? 0 : 3.5 * (index - (series.length - 1) / 2);
    const at = one.points.map(([value, estimate, told]) => ({ x: x(value) + aside, low: y(estimate[1]), y: y(estimate[0]), high: y(estimate[2]), told }));
    const path = points => `M${points.map(point => point.map(value => value.toFixed(1)).join(" ")).join("L")}`;
    return svg("g", { class: style },
      bands ? svg("path", { class: "band", d: `${path([...at.map(p => [p.x, p.high]), ...at.toReversed().map(p => [p.x, p.low])])}z` }) : null,
      svg("path", { class: "line", d: path(at.map(p => [p.x, p.y])), "stroke-dasharray": dash }),
      bands ? [] : at.map(p => svg("g", {}, svg("title", {}, p.told), svg("line", { class: "range", x1: p.x, x2: p.x, y1: p.low, y2: p.high }),
        svg("path", { class: "mark", d: shape, transform: `translate(${p.x.toFixed(1)} ${p.y.toFixed(1)})` }))));
  });
  const text = (words, at, anchor = "middle") => svg("text", { x: at[0], y: at[1], "text-anchor": anchor }, words);
  const level = value => svg("line", { class: value ? "grid" : "axis", x1: left, x2: width - right, y1: y(value), y2: y(value) });
  return svg("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    [0, .25, .5, .75, 1].map(level), [0, .5, 1].map(value => text(String(value), [left - 5, y(value) + 3.5], "end")),
    xTicks.map(value => [svg("line", { class: "axis", x1: x(value), x2: x(value), y1: y(0), y2: y(0) + 4 }), text(plain(value), [x(value), y(0) + 15])]),
    text(xTitle, [(left + width - right) / 2, height - 4]), drawn);
}

const list = items => make("ul", { class: "words" }, items.map(item => make("li", {}, item)));
const granted = track => `${track.lists ? "the list of admissible commands" : "no list of commands"}, ${track.memory ? "memory" : "no memory"}`;

function drawWords() {
  $("reading").replaceChildren(list(data.reading));
  $("limits").replaceChildren(list(data.limits));
}
