const { suite, track, entry } = data;
const PAGE_ROWS = 60;
const KNOBS = ["state_space_size", "action_space_size", "solution_length", "reward_density"];
let episodes = null;

function drawHead() {
  document.title = `${entry.name}: ${suite.name}, ${track.name}`;
  $("back").textContent = `\u2190 ${suite.name}, track ${track.name}`;
  $("back").href += `#suite=${encodeURIComponent(suite.name)}&track=${encodeURIComponent(track.name)}`;
  $("name").textContent = entry.name;
  const rank = entry.is_reference ? "A reference, without a rank"
    : entry.rank === null ? `Flagged (${plural(entry.flagged, "solved repair")}), without a rank` : `Rank ${entry.rank} of ${data.ranked}`;
  const alike = entry.above && !entry.above.is_clear ? `, ${ALIKE} not distinguishable from the one above` : "";
  const tasks = suite.cells.reduce((sum, cell) => sum + cell.tasks, 0);
  $("about").replaceChildren(`${rank}${alike}. Agent `, make("bdi", { class: "mono" }, entry.agent),
    `, ${plural(entry.runs, "run")} of ${plural(tasks, "task")}; the track grants ${granted(track)}. `,
    entry.repairs ? make("a", { href: `../../../${entry.page.replace("entries/", "repairs/")}` }, `Diffs of ${plural(entry.repairs, "solved repair")}`) : "");
}

function drawScores() {
  const rows = [
    ["Success rate", "success", unit, [0, 1], "episodes solved"],
    ["Normalised", "normalised", unit, [0, 1], "return from random (0) to expert (1)"],
    ["Return", "returns", unit, [0, 1], "of an episode"],
    ["SPL", "spl", unit, [0, 1], "success by length of path"],
    [`pass^${data.k}`, "pass_all", unit, [0, 1], `tasks that ${data.k} runs all solve`],
    ["Steps", "steps", plain, null, "of an episode"],
    ["Tokens", "tokens", amount, null, "per solved episode"],
    ["Cost", "cost", money, null, "per solved episode"],
  ].filter(([, key]) => entry[key]);
  $("scores").replaceChildren(make("div", { class: "card scroll", role: "region", "aria-label": "Scores", tabindex: 0 }, make("table", {}, make("tbody", {},
    rows.map(([title, key, format, ends, meaning]) => make("tr", {}, make("th", { scope: "row" }, title, make("div", { class: "dim small" }, meaning)),
      make("td", { class: "number" }, score(entry[key], format, ends))))))));
}

function drawProfile() {
  const series = data.profiles.map(({ name, profile }, index) => ({ name, number: index ? null : 0, points: profile.map((estimate, place) => [data.thresholds[place], estimate]) }));
  const ticks = data.thresholds.filter((_, place) => place % 4 === 0);
  $("profile").replaceChildren(make("figcaption", {}, "Share of episodes that return more than a threshold, with 95 % intervals"),
    plot({ label: "Performance profile", xTicks: [...ticks, data.thresholds.at(-1)], xTitle: "return", series, bands: true }), legend(series));
}

function drawCells() {
  const rows = suite.cells.map((cell, index) => ({ ...cell, ...entry.cells[index], index }));
  const knobs = KNOBS.filter(knob => suite.cells.some(cell => cell.knobs[knob] != null));
  $("cells").replaceChildren(sortable({ label: "Scores in each cell", rows, columns: [
    { title: "Cell", head: true, value: cell => cell.index, draw: cell => [make("span", { class: "mono" }, cell.name)] },
    best("Success", "success", unit, [0, 1]), best("Return", "returns", unit, [0, 1]), best("SPL", "spl", unit, [0, 1]),
    { title: "Tasks", down: true, value: cell => cell.tasks, draw: cell => [String(cell.tasks)] },
    ...knobs.map(knob => ({ title: knob.replaceAll("_", " "), wrapped: true, value: cell => cell.knobs[knob], draw: cell => [cell.knobs[knob] == null ? DASH : plain(cell.knobs[knob])] })),
  ] }).node);
}

// ---- episodes ----
const verdict = row => [make("span", { class: row.success ? "good" : "bad" }, `${row.success ? "\u2713" : "\u2717"} ${row.outcome}`)];
const figure = (title, key, hint, format = plain) => ({ title, hint, down: true, kind: "number", value: row => row[key], draw: row => [format(row[key])] });

function drawEpisodes() {
  const options = (id, pairs) => $(id).replaceChildren(...pairs.map(([value, words]) => make("option", { value }, words)));
  options("cell", [["", "all"], ...suite.cells.map((cell, index) => [index, cell.name])]);
  options("run", [["", "all"], ...Array.from({ length: entry.runs }, (_, index) => [index + 1, index + 1])]);
  options("outcome", [["", "all"], ...[...new Set(data.episodes.map(row => row.outcome))].toSorted().map(outcome => [outcome, outcome])]);
  episodes = sortable({ label: "Episodes", rows: data.episodes, most: PAGE_ROWS, columns: [
    { title: "Episode", head: true, value: row => `${row.seed.padStart(20, "0")} ${row.run}`, draw: row =>
      [make("a", { href: row.link }, `seed ${row.seed}, run ${row.run}`), make("div", { class: "mono dim" }, suite.cells[row.cell].name)] },
    { title: "Outcome", value: row => row.outcome, draw: verdict },
    figure("Return", "return"), figure("Steps", "steps"), figure("Reference", "reference", "steps of the reference solution"),
    figure("Invalid", "invalid_actions", "actions that were no command"),
  ] });
  $("episodes").replaceChildren(episodes.node);
  for (const id of ["cell", "run", "outcome"]) $(id).addEventListener("input", filter);
  filter();
}

function filter() {
  const [cell, run, outcome] = ["cell", "run", "outcome"].map(id => $(id).value);
  const rows = data.episodes.filter(row => (!cell || row.cell === Number(cell)) && (!run || row.run === Number(run)) && (!outcome || row.outcome === outcome));
  episodes.show(rows);
  const solved = rows.filter(row => row.success).length;
  $("count").textContent = `${plural(rows.length, "episode")}, ${solved.toLocaleString("en")} solved`;
}

// ---- what was handed in ----
const facts = (label, pairs) => make("div", { class: "card scroll facts", role: "region", "aria-label": label, tabindex: 0 }, make("table", {}, make("tbody", {},
  pairs.map(([name, value]) => make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, make("bdi", {}, value === "" ? DASH : value)))))));

function drawFacts() {
  $("settings").replaceChildren(facts("Settings", data.settings));
  const totals = data.totals.map(([name, value]) => [name, Number(value.toFixed(4)).toLocaleString("en")]);
  $("provenance").replaceChildren(...data.sessions.flatMap((session, index) => [
    data.sessions.length > 1 ? make("h3", {}, `Start ${index + 1}`) : null, facts(`Start ${index + 1}`, session)]).filter(Boolean),
    make("h3", {}, "All episodes together"), facts("Totals", totals));
}

drawHead();
drawScores();
drawProfile();
drawCells();
drawEpisodes();
drawFacts();
drawWords();
