// Draws, listens to the filter and the theme, and shows everything once in the beginning.
const specifications = JSON.parse(document.getElementById("charts").textContent);
const views = {};
const wanted = {};
let standing = 0;

/** Give a chart new rows; it is made when it has some for the first time. */
const draw = (name, rows) => {
  document.getElementById(`figure-${name}`).hidden = rows.length === 0;
  if (rows.length === 0) return;
  const isNew = !(name in wanted);
  wanted[name] = rows;
  if (isNew) stand(name, rows);
  else views[name]?.data("rows", rows).resize().run(); // a legend may take more room now
};

const tip = document.getElementById("tip");

/** Vega's tooltip as text; what it would make of HTML is never asked. */
const showTip = (_, event, __, value) => {
  tip.hidden = !value;
  if (!value) return;
  const texts = typeof value === "object" ? Object.values(value) : [value];
  tip.replaceChildren(...texts.map((text) => element("div", {}, String(text))));
  const left = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(left, 8)}px`;
  tip.style.top = `${event.clientY + 14}px`;
};

const nothingElse = () => Promise.reject(new Error("A report loads nothing."));
const OPTIONS = {
  actions: false, ast: true, defaultStyle: false, mode: "vega", renderer: "svg", tooltip: showTip,
  loader: { load: nothingElse, sanitize: nothingElse, http: nothingElse, file: nothingElse },
};

const settled = (change) => {
  standing += change;
  document.documentElement.dataset.ready = standing === 0 ? "yes" : "no";
};

const stand = async (name, rows) => {
  settled(1);
  const place = document.getElementById(`chart-${name}`);
  const specification = specifications[name];
  specification.data.find((each) => each.name === "rows").values = rows;
  const { view } = await vegaEmbed(place, specification, OPTIONS);
  await view.resize().runAsync(); // the legend was laid out for another width
  views[name] = view;
  if (wanted[name] !== rows) draw(name, wanted[name]);
  settled(-1);
};

const form = document.getElementById("filter");
const CHOICES = ["source", "model", "assistant_id"];

/** What is chosen; a key without a choice is not among it. */
const filterOf = () => {
  const from = form.elements.from.value || days[0];
  const filter = { from: startOf(from), to: form.elements.to.value || days.at(-1) };
  for (const key of CHOICES) {
    const place = form.elements[key].value;
    if (place !== "") filter[key] = data.names[key][Number(place)];
  }
  return filter;
};

/** The first day of the stretch with that day in it. */
const startOf = (day) => days.filter((start) => start <= day).at(-1) ?? days[0];

const offer = (key) => {
  const used = new Set(tables.usage.map((row) => row[key]));
  data.names[key].map((value, place) => ({ text: named(value), value, place }))
    .filter(({ value }) => used.has(value))
    .sort((a, b) => compared(a.text, b.text))
    .forEach(({ text, place }) => form.elements[key].append(element("option", { value: place }, text)));
};

const show = () => {
  const filter = filterOf();
  showTotals(filter);
  showDays(filter);
  showUsageBy("model", "model", "Model", filter);
  showUsageBy("assistant_id", "assistant", "Assistant", filter);
  [showThreads, showFailures, showLatency, showWaste, showGrowth, showTools]
    .forEach((section) => section(filter));
  dispatchEvent(new Event("resize")); // a figure that was hidden has a width again
  const all = total(tables.usage).runs ?? 0n;
  const shown = total(chosen("usage", filter)).runs ?? 0n;
  document.getElementById("shown").textContent =
    shown === all ? `All ${runsTold(all)} are shown.` : `${counted(shown)} of ${runsTold(all)} are shown.`;
};

const THEMES = ["light", "dark"];
const theme = document.getElementById("theme");
const isDark = () =>
  (document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };

theme.addEventListener("click", () => {
  document.documentElement.dataset.theme = THEMES[isDark() ? 0 : 1];
  nameTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
nameTheme();

/** On paper every table is open. */
const opened = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details.figures:not([open])")) {
    details.open = true;
    opened.push(details);
  }
});
addEventListener("afterprint", () => opened.splice(0).forEach((details) => { details.open = false; }));

CHOICES.forEach(offer);
form.addEventListener("input", show);
form.addEventListener("reset", () => setTimeout(show));
form.addEventListener("submit", (event) => event.preventDefault());
show();
