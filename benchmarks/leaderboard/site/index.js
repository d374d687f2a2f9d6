// ---- which board: kept in the address, so that a link is all there is to pass on ----
const MOST_PLOTTED = 6;
const chosen = new Map();  // board -> entries that are plotted, in the order of their looks
let board = null, ranking = null;

const nameOf = one => `suite=${encodeURIComponent(one.suite.name)}&track=${encodeURIComponent(one.track.name)}`;

function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const fits = (one, key) => one[key].name === wanted.get(key);
  return data.boards.find(one => fits(one, "suite") && fits(one, "track")) ?? data.boards.find(one => fits(one, "suite")) ?? data.boards[0];
}

function openBoard(wanted) {
  board = wanted;
  const options = names => [...new Set(names)].map(name => make("option", { value: name }, name));
  $("suite").replaceChildren(...options(data.boards.map(one => one.suite.name)));
  $("track").replaceChildren(...options(data.boards.filter(one => one.suite.name === board.suite.name).map(one => one.track.name)));
  $("suite").value = board.suite.name;
  $("track").value = board.track.name;
  const { suite, track } = board;
  $("about").replaceChildren(`${suite.description} ${plural(suite.cells.length, "cell")}, ${plural(suite.cells.reduce((sum, cell) => sum + cell.tasks, 0), "task")}; `,
    `the track grants ${granted(track)}. Digest `, make("span", { class: "mono" }, suite.digest.slice(0, 12)), ". ",
    make("a", { href: board.suite_page }, "About this suite"), ". To cite this table as it stands: ", make("span", { class: "mono" }, board.citation), ".");
  $("kind").replaceChildren(make("option", { value: "" }, "all"), ...options(board.entries.filter(entry => !entry.is_reference).map(entry => entry.kind)));
  if (!chosen.has(board)) chosen.set(board, startingChoice(board.entries));
  drawRanking();
  drawChosen();
  drawComparisons();
}

function startingChoice(entries) {
  const ranked = entries.filter(entry => !entry.is_reference).slice(0, MOST_PLOTTED);
  return [...ranked, ...entries.filter(entry => entry.is_reference)];
}

// An entry keeps its look while others come and go.
const numberOf = entry => entry.is_reference ? null : board.entries.filter(other => !other.is_reference).indexOf(entry);

// ---- the ranking ----
function drawRanking() {
  const counted = (title, key, format, hint) => board.entries.some(entry => entry[key]) ? [{ ...best(title, key, format, null, hint, false), wrapped: true }] : [];
  const place = entry => board.entries.indexOf(entry);
  ranking = sortable({
    label: "Ranking", rows: [], by: 1, rowClass: entry => entry.is_reference && "reference", columns: [
      { title: "Plot", kind: "choose", draw: drawChoice },
      { title: "Rank", value: place, draw: drawRank, hint: "by success rate" },
      { title: "Entry", head: true, value: entry => entry.name.toLowerCase(), draw: drawName },
      best("Success", "success", unit, [0, 1], "share of episodes solved"),
      best("Normalised", "normalised", unit, [0, 1], "return between the random agent (0) and the expert (1), mean over cells"),
      best("Return", "returns", unit, [0, 1], "mean return"),
      best("SPL", "spl", unit, [0, 1], "success weighted by the steps of the reference solution over those taken"),
      best(`pass^${board.k}`, "pass_all", unit, [0, 1], `share of tasks that ${board.k} runs all solve`),
      ...counted("Tokens / solved", "tokens", amount, "tokens of all episodes per solved one"),
      ...counted("Cost / solved", "cost", money, "cost of all episodes per solved one"),
      { title: "Runs", down: true, value: entry => entry.runs, draw: entry => [String(entry.runs)] },
    ],
  });
  $("entries").replaceChildren(ranking.node);
  filter();
}

function drawChoice(entry) {
  const box = make("input", { type: "checkbox", "aria-label": `Plot ${entry.name}`, onchange: () => {
    const others = chosen.get(board).filter(other => other !== entry);
    const order = other => board.entries.indexOf(other);
    chosen.set(board, box.checked ? [...others, entry].toSorted((a, b) => order(a) - order(b)) : others);
    drawChosen();
  } });
  box.checked = chosen.get(board).includes(entry);
  return [make("label", {}, box, sample(numberOf(entry)))];
}

function drawRank(entry) {
  if (entry.is_reference) return [make("span", { class: "dim" }, DASH)];
  if (entry.rank === null) return [make("span", { class: "tag", title: `${plural(entry.flagged, "solved repair")} to look at` }, "flagged")];
  if (!entry.above || entry.above.is_clear) return [String(entry.rank)];
  const told = "not distinguishable from the one above";
  return [`${entry.rank} `, make("span", { title: told, "aria-hidden": "true" }, ALIKE), make("span", { class: "unseen" }, told)];
}

function drawName(entry) {
  return [make("a", { href: entry.page, class: "clamp" }, make("bdi", {}, entry.name)),
    entry.is_reference ? make("span", { class: "tag" }, "reference") : make("bdi", { class: "mono dim clamp" }, entry.agent)];
}

function filter() {
  const wanted = $("find").value.trim().toLowerCase(), kind = $("kind").value, references = $("references").checked;
  const rows = board.entries.filter(entry => (entry.is_reference ? references && !kind : !kind || entry.kind === kind)
    && [entry.name, entry.agent, entry.slug].some(text => text.toLowerCase().includes(wanted)));
  ranking.show(rows);
  $("count").textContent = rows.length === board.entries.length ? plural(rows.length, "entry").replace("entrys", "entries")
    : `${rows.length} of ${board.entries.length} entries`;
}

// ---- what is plotted ----
function drawChosen() {
  const entries = chosen.get(board);
  const series = entries.map(entry => ({ name: entry.name, number: numberOf(entry), entry }));
  $("legend").replaceChildren(legend(series));
  const panels = Map.groupBy(board.entries[0].knobs, point => `${point.domain}, ${point.knob.replaceAll("_", " ")}`);
  $("knobs").hidden = !panels.size;
  $("plots").replaceChildren(make("div", { class: "panels" }, [...panels].map(([title, points]) => panel(title, points, series))));
  drawCosts(series);
  drawGroups(entries);
  drawCells(entries);
}

// Success against what a solved task cost, one point for each ticked entry that counted it; the axis is logarithmic.
function drawCosts(series) {
  const kinds = [["cost", "cost per solved task", money], ["tokens", "tokens per solved task", amount]];
  const figures = kinds.flatMap(([key, title, format]) => {
    const counted = series.filter(one => one.entry[key]?.[0] > 0);
    if (!counted.length) return [];
    const values = counted.map(one => one.entry[key][0]), exponent = value => Math.log10(value);
    const first = Math.floor(exponent(Math.min(...values))), last = Math.max(first + 1, Math.ceil(exponent(Math.max(...values))));
    const ticks = Array.from({ length: last - first + 1 }, (_, index) => Number(`1e${first + index}`));
    const points = counted.map(one => ({ ...one, points: [[one.entry[key][0], one.entry.success,
      `${one.name}: success ${words(one.entry.success, unit)}, ${title} ${words(one.entry[key], format)}`]] }));
    return [make("figure", { class: "card panel" }, make("figcaption", {}, `Success against ${title}`),
      plot({ label: `Success of the ticked entries against ${title}`, xTicks: ticks, xTitle: title, series: points }))];
  });
  $("costs").hidden = !figures.length;
  $("costs").replaceChildren(...figures);
}

function drawGroups(entries) {
  const kinds = Map.groupBy(board.entries[0].groups, group => group.kind);
  $("groups").replaceChildren(...[...kinds].map(([kind, groups]) => {
    const of = (entry, group) => entry.groups.find(other => other.kind === kind && other.name === group.name).success;
    return make("section", {}, make("h2", {}, `Success by ${kind}`), sortable({ label: `Success by ${kind}`, rows: groups, by: null, columns: [
      { title: kind, head: true, value: group => group.name, draw: group => [make("span", { class: "mono" }, group.name)] },
      { title: "Tasks", down: true, value: group => group.num_tasks, draw: group => [String(group.num_tasks)] },
      ...entries.map(entry => ({ title: make("bdi", {}, entry.name), wrapped: true, kind: "number", down: true, value: group => of(entry, group)[0],
        draw: group => score(of(entry, group), unit, [0, 1]) })),
    ] }).node);
  }));
}

function panel(title, points, series) {
  const [{ domain, knob }] = points;
  const spoken = knob.replaceAll("_", " ");
  const lines = series.map(one => ({ ...one, points: one.entry.knobs.filter(point => point.domain === domain && point.knob === knob).map(point =>
    [point.value, point.success, `${one.name}: ${words(point.success, unit)} at ${spoken} ${plain(point.value)}, ${plural(point.num_tasks, "task")}`]) }));
  return make("figure", { class: "card panel" }, make("figcaption", {}, domain),
    plot({ label: `Success of the ticked entries over ${title}`, xTicks: points.map(point => point.value), xTitle: spoken, series: lines }));
}

function drawCells(entries) {
  const rows = board.suite.cells.map((cell, index) => ({ ...cell, index }));
  $("cells").replaceChildren(sortable({ label: "Success in each cell", rows, by: null, columns: [
    { title: "Cell", head: true, value: cell => cell.index, draw: cell => [make("span", { class: "mono" }, cell.name)] },
    { title: "Tasks", down: true, value: cell => cell.tasks, draw: cell => [String(cell.tasks)] },
    ...entries.map(entry => ({ title: make("bdi", {}, entry.name), wrapped: true, kind: "number", down: true, value: cell => entry.cells[cell.index].success[0],
      draw: cell => score(entry.cells[cell.index].success, unit, [0, 1]) })),
  ] }).node);
}

function drawComparisons() {
  const ranked = board.entries.filter(entry => entry.rank !== null);
  const rows = ranked.slice(1).map((lower, index) => ({ upper: ranked[index], lower, index, difference: lower.above.difference, ...lower.above }));
  const largest = Math.max(.1, ...rows.flatMap(row => row.difference.map(Math.abs)));
  $("pairs").hidden = !rows.length;
  const named = (title, key) => ({ title, kind: "named", draw: row => [make("a", { href: row[key].page, class: "clamp" }, make("bdi", {}, row[key].name))] });
  $("comparisons").replaceChildren(sortable({ label: "Neighbours in the ranking", rows, columns: [
    named("Above", "upper"), named("Below", "lower"), best("Difference", "difference", unit, [-largest, largest]),
    { title: "p", value: row => row.p, draw: row => [row.p === null ? "\u2013" : row.p.toFixed(4)] },
    { title: "", draw: row => [row.is_clear ? "" : make("span", { class: "dim" }, `${ALIKE} not distinguishable`)] },
  ] }).node);
}

// ---- start ----
function choose() {
  const suite = $("suite").value;
  const wanted = data.boards.find(one => one.suite.name === suite && one.track.name === $("track").value) ?? data.boards.find(one => one.suite.name === suite);
  history.replaceState(null, "", `#${nameOf(wanted)}`);
  openBoard(wanted);
}

drawWords();
$("empty").hidden = data.boards.length > 0;
$("board").hidden = !data.boards.length;
if (data.boards.length) {
  for (const id of ["suite", "track"]) $(id).addEventListener("change", choose);
  for (const id of ["find", "kind", "references"]) $(id).addEventListener("input", filter);
  window.addEventListener("hashchange", () => openBoard(fromAddress()));
  openBoard(fromAddress());
}
