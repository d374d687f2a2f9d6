const { suite, tracks } = data;
const mono = text => make("span", { class: "mono" }, text);
const rows = suite.cells.flatMap((cell, index) => cell.tasks.map(([task, seed, reference, steps]) => ({ cell: cell.name, index, task, seed, reference, steps })));

document.title = suite.name;
$("name").textContent = suite.name;
const way = suite.cells.some(cell => cell.by_name) ? "Tasks are a finite list, named below." : "A task is the one that its seed gives in its environment.";
$("about").replaceChildren(`${suite.description} ${plural(suite.cells.length, "cell")}, ${plural(rows.length, "task")}. ${way} Digest `, mono(suite.digest), ".");
$("play").textContent = `python -m benchmarks run ${suite.play} --track open --agent python:my_package.agent:MyAgent --out runs/mine
python -m benchmarks scores runs/mine
python -m benchmarks verify runs/mine`;
$("tracks").replaceChildren(sortable({ label: "Tracks", rows: tracks, columns: [
  { title: "Track", head: true, draw: track => [mono(track.name)] },
  { title: "Grants", draw: track => [granted(track)] },
] }).node);
$("cells").replaceChildren(sortable({ label: "Cells", rows: suite.cells, columns: [
  { title: "Cell", head: true, draw: cell => [mono(cell.name)] },
  { title: "Environment", draw: cell => [mono(cell.env_id)] },
  { title: "Options", draw: cell => cell.options.map(([name, value]) => make("div", { class: "mono" }, `${name}: ${value}`)) },
  { title: "Tasks", draw: cell => [String(cell.tasks.length)] },
] }).node);
$("tasks").replaceChildren(sortable({ label: "Tasks", rows, by: null, most: 60, columns: [
  { title: "Task", head: true, value: row => row.task, draw: row => [mono(row.task)] },
  { title: "Cell", value: row => row.index, draw: row => [row.cell] },
  { title: "Seed", draw: row => [row.seed] },
  { title: "Reference steps", value: row => row.reference, draw: row => [String(row.reference)] },
  { title: "Most steps", value: row => row.steps, draw: row => [String(row.steps)] },
] }).node);
