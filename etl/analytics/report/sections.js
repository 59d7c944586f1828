// What each section shows of the rows that the filter lets through.
const MOST_BARS = 12;
const MOST_SERIES = 7;
const stretch = { day: "Day", week: "Week from", month: "Month from" }[data.grain];
const short = (day) => data.labels[day];
const unit = (run) => (run === 1n ? "run" : "runs");
const runsTold = (runs) => `${counted(runs)} ${unit(runs)}`;

const usageColumns = [
  number("Runs", (row) => row.runs),
  number("Input", (row) => row.input_tokens),
  number("Cached", (row) => row.cached_input_tokens),
  number("Output", (row) => row.output_tokens),
  number("Reasoning", (row) => row.reasoning_output_tokens),
  number("Total tokens", (row) => row.total_tokens),
  money("Cost", (row) => row.cost_usd),
  number("Unpriced runs", (row) => row.unpriced_runs),
];

/** A bar for each of the largest; the table has them all. */
const bars = (rows, name, value, told, toPixels) =>
  rows.filter((row) => (value(row) ?? 0n) !== 0n)
    .sort((a, b) => compared(value(b), value(a)))
    .slice(0, MOST_BARS)
    .map((row) => ({ name: named(name(row)), value: toPixels(value(row)), told: told(value(row)) }));

const tokenBars = (rows, name) =>
  bars(rows, name, (row) => row.total_tokens, (value) => `${counted(value)} tokens`, pixels);
const costBars = (rows, name) =>
  bars(rows, name, (row) => row.cost_usd, (value) => dollars(value), dollarPixels);

/** A bar for each series on each day, the empty days too, so that no gap is closed. */
const stacks = (rows, filter, names, value, told, toPixels) => {
  if (rows.length === 0) return [];
  const sums = new Map();
  for (const row of rows) {
    const place = JSON.stringify([row.day, row.series]);
    sums.set(place, plus(sums.get(place) ?? null, value(row)));
  }
  return daysOf(filter).flatMap((day) =>
    names.map((series, place) => {
      const sum = sums.get(JSON.stringify([day, series])) ?? 0n;
      return { day: short(day), series, place, value: toPixels(sum), told: told(sum) };
    }));
};

/** Rows with a series: the largest by a value have their own, the rest share one. */
const asSeries = (rows, key, value) => {
  const sums = new Map();
  for (const row of rows) sums.set(key(row), plus(sums.get(key(row)) ?? null, value(row)) ?? 0n);
  const ranked = [...sums].sort((a, b) => compared(b[1], a[1])).map(([name]) => name);
  const own = ranked.slice(0, ranked.length > MOST_SERIES + 1 ? MOST_SERIES : MOST_SERIES + 1);
  const series = (row) => (own.includes(key(row)) ? key(row) : "others");
  const names = own.length < ranked.length ? [...own, "others"] : own;
  return { names, rows: rows.map((row) => ({ ...row, series: series(row) })) };
};

/** Say beside every cost how many runs are not in it. */
const showLacking = (runs) => {
  for (const place of document.querySelectorAll(".lacking")) {
    place.textContent = runs ? `${runsTold(runs)} unpriced` : "";
  }
};

const showTotals = (filter) => {
  const sum = total(chosen("usage", filter));
  showTile("runs", counted(sum.runs));
  showTile("tokens", counted(sum.total_tokens));
  showTile("cost", dollars(sum.cost_usd, 2), allDecimals(sum.cost_usd ?? null));
  showTile("unpriced", counted(sum.unpriced_runs));
  showLacking(sum.unpriced_runs ?? 0n);
  showTile("no-usage", counted(sum.no_usage_runs));
  showTile("wasted", percent(sum.wasted_tokens ?? 0n, sum.total_tokens ?? 0n));
};

const KINDS = [
  ["input, not cached", (row) => row.input_tokens - row.cached_input_tokens],
  ["input, cached", (row) => row.cached_input_tokens],
  ["output", (row) => row.output_tokens],
];

const showDays = (filter) => {
  const byDay = sumsBy(chosen("usage", filter), "day").sort((a, b) => compared(b.day, a.day));
  const kinds = byDay.flatMap((row) =>
    KINDS.map(([series, value]) => ({ day: row.day, series, tokens: value(row) })));
  const names = KINDS.map(([series]) => series);
  draw("tokens-by-day", stacks(kinds, filter, names, (row) => row.tokens, counted, (value) => Math.max(pixels(value), 0)));
  const models = asSeries(sumsBy(chosen("usage", filter), "day", "model").filter((row) => row.cost_usd !== null),
    (row) => named(row.model), (row) => row.cost_usd);
  draw("cost-by-day", stacks(models.rows, filter, models.names, (row) => row.cost_usd, (value) => dollars(value), dollarPixels));
  showTable("days", `Tokens and cost by ${data.grain}`, [column(stretch, (row) => row.day), ...usageColumns], byDay);
};

const showUsageBy = (key, name, heading, filter) => {
  const rows = dearest(sumsBy(chosen("usage", filter), key));
  draw(`tokens-by-${name}`, tokenBars(rows, (row) => row[key]));
  draw(`cost-by-${name}`, costBars(rows, (row) => row[key]));
  showTable(`${name}s`, `Tokens and cost by ${name}`, [column(heading, (row) => row[key]), ...usageColumns], rows);
};

const showThreads = (filter) => {
  const rows = dearest(sumsBy(chosen("threads", filter), "thread_id", "source"));
  draw("threads", costBars(rows, (row) => row.thread_id));
  showTable("threads", "Threads by cost, then tokens", [
    column("Thread", (row) => row.thread_id), column("Source", (row) => row.source),
    number("Runs", (row) => row.runs), number("Total tokens", (row) => row.total_tokens),
    money("Cost", (row) => row.cost_usd), number("Unpriced runs", (row) => row.unpriced_runs),
    column("Last run", (row) => row.last_run_at, instant),
  ], rows);
};

const instant = (text) => (text ? `${text.slice(0, 16).replace("T", " ")} UTC` : "–");
const reasonOf = (row) => [row.status, row.reason].filter(Boolean).join(": ");

const showFailures = (filter) => {
  const rows = chosen("failures", filter);
  const series = asSeries(rows, reasonOf, (row) => row.runs);
  draw("failures-by-day", stacks(series.rows, filter, series.names, (row) => row.runs, runsTold, pixels));
  showTable("failures", "Runs that failed, expired or ended incomplete", [
    column("Status", (row) => row.status), column("Code or reason", (row) => row.reason),
    number("Runs", (row) => row.runs), number("Tokens", (row) => row.total_tokens),
    column("Last", (row) => row.last_run_at, instant), column("Example run", (row) => row.example_run_id),
  ], mostRuns(sumsBy(rows, "status", "reason")));
  showTable("messages", "Error messages", [
    column("Message", (row) => row.error_message), column("Code", (row) => row.error_code),
    number("Runs", (row) => row.runs), column("Last", (row) => row.last_run_at, instant),
  ], mostRuns(sumsBy(chosen("messages", filter), "error_message", "error_code")));
};

const SHARES = [50, 95, 99];

const showLatency = (filter) => {
  const rows = chosen("latency", filter);
  const figures = ["queue", "duration"].map((measure) => percentilesByDay(measure,
    rows.filter((row) => row.measure === measure), filter));
  const byDay = daysOf(filter).reverse()
    .map((day) => ({ day, queue: figures[0].get(day), duration: figures[1].get(day) }))
    .filter((row) => row.queue || row.duration);
  const columns = ["queue", "duration"].flatMap((measure) => SHARES.map((share) =>
    number(`${measure} p${share}`, (row) => row[measure]?.[share] ?? null, seconds)));
  showTable("latency", `Seconds that runs waited and worked, by ${data.grain}`,
    [column(stretch, (row) => row.day), ...columns], byDay);
};

/** Draw a measure's percentiles, and answer them by day. */
const percentilesByDay = (measure, rows, filter) => {
  const found = new Map();
  for (const [day, ofDay] of Map.groupBy(rows, (row) => row.day))
    found.set(day, Object.fromEntries(SHARES.map((share) => [share, percentile(ofDay, share)])));
  if (found.size === 0) draw(measure, []);
  else draw(measure, SHARES.flatMap((share) => daysOf(filter).map((day) => {
    const value = found.get(day)?.[share] ?? null;
    return { day: short(day), series: `p${share}`, value, told: seconds(value) };
  })));
  return found;
};

const showWaste = (filter) => {
  const rows = chosen("waste", filter);
  const series = asSeries(rows, (row) => row.status, (row) => row.total_tokens);
  draw("waste-by-day", stacks(series.rows, filter, series.names, (row) => row.total_tokens, counted, pixels));
  showTable("waste", "Runs that bought no whole answer", [
    column("Status", (row) => row.status), number("Runs", (row) => row.runs),
    number("Tokens", (row) => row.total_tokens), money("Cost", (row) => row.cost_usd),
    number("Unpriced runs", (row) => row.unpriced_runs),
  ], dearest(sumsBy(rows, "status")));
};

const slope = (value) => value.toLocaleString("en", { maximumFractionDigits: 1, signDisplay: "exceptZero" });

const showGrowth = (filter) => {
  const rows = chosen("growth", filter);
  draw("growth", rows.slice(0, MOST_BARS).map((row) => ({
    name: row.thread_id, first: pixels(row.first_input_tokens), last: pixels(row.last_input_tokens),
    told: `${counted(row.first_input_tokens)} to ${counted(row.last_input_tokens)} input tokens in ${runsTold(row.runs)}`,
  })));
  showTable("growth", "Threads whose prompts grow fastest", [
    column("Thread", (row) => row.thread_id), column("Assistant", (row) => row.assistant_id),
    number("Runs", (row) => row.runs), number("First input", (row) => row.first_input_tokens),
    number("Last input", (row) => row.last_input_tokens), number("Largest", (row) => row.largest_input_tokens),
    number("Tokens per run", (row) => row.input_tokens_per_run, slope),
  ], rows);
};

const toolOf = (row) => row.function_name ?? row.tool_type;

const showTools = (filter) => {
  const rows = mostRuns(sumsBy(chosen("tools", filter), "tool_type", "function_name"));
  draw("tools", bars(rows, toolOf, (row) => row.runs, runsTold, pixels));
  showTable("tools", "Tools that runs were given", [
    column("Tool", toolOf), column("Type", (row) => row.tool_type),
    number("Runs", (row) => row.runs), column("Last run", (row) => row.last_run_at, instant),
  ], rows);
};
