const { suite, track, entry } = data;

function drawHead() {
  document.title = `Repairs of ${entry.name}: ${suite.name}, ${track.name}`;
  $("back").textContent = `\u2190 ${entry.name}`;
  $("back").href = `../../../${entry.page}`;
  $("name").textContent = `Solved repairs of ${entry.name}`;
  $("about").textContent = `${plural(data.repairs.length, "solved repair")} in ${suite.name}, track ${track.name}, of which ${entry.flagged} have flags.`;
}

function drawRepair(repair) {
  const flags = repair.flags.length ? make("ul", {}, repair.flags.map(flag => make("li", { class: "bad" }, make("bdi", {}, flag)))) : "";
  return make("section", {}, make("h2", {}, make("a", { href: repair.link }, repair.episode), " ", make("span", { class: "mono dim small" }, repair.cell)),
    flags, make("div", { class: "card scroll", role: "region", "aria-label": `Diff, ${repair.episode}`, tabindex: 0 },
      make("pre", {}, make("bdi", {}, repair.patch || "Nothing was changed."))));
}

drawHead();
$("repairs").replaceChildren(...data.repairs.map(drawRepair));
