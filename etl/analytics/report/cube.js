// The rows of each answer, the filter that chooses among them, and sums by a key.
const KEYS = ["day", "source", "model", "assistant_id", "thread_id"];
const EXACT = /(^runs|_runs|_tokens|cost_usd)$/;

const decoded = ({ columns, rows }) =>
  rows.map((row) => {
    const entry = {};
    columns.forEach((column, place) => {
      const value = row[place];
      if (KEYS.includes(column)) entry[column] = data.names[column][value];
      else entry[column] = EXACT.test(column) ? exact(value) : value;
    });
    return entry;
  });

const tables = {};
for (const name of Object.keys(data.tables)) tables[name] = decoded(data.tables[name]);
const days = data.names.day;

/** Those of the rows that the filter lets through; a key a row has not is not asked. */
const chosen = (name, filter) =>
  tables[name].filter((row) =>
    (row.day === undefined || (filter.from <= row.day && row.day <= filter.to)) &&
    ["source", "model", "assistant_id"].every(
      (key) => row[key] === undefined || !(key in filter) || row[key] === filter[key]));

const add = (sum, row) => {
  for (const [column, value] of Object.entries(row))
    if (EXACT.test(column)) sum[column] = plus(sum[column] ?? null, value);
};

const total = (rows) => {
  const sum = {};
  rows.forEach((row) => add(sum, row));
  return sum;
};

/** Sums by the values of keys, in the order in which they first occur. */
const sumsBy = (rows, ...keys) => {
  const groups = new Map();
  for (const row of rows) {
    const id = JSON.stringify(keys.map((key) => row[key] ?? null));
    if (!groups.has(id)) {
      const group = {};
      keys.forEach((key) => { group[key] = row[key] ?? null; });
      groups.set(id, group);
    }
    const group = groups.get(id);
    add(group, row);
    if (row.last_run_at && !(row.last_run_at <= group.last_run_at)) {
      group.last_run_at = row.last_run_at;
      group.example_run_id = row.example_run_id;
    }
  }
  return [...groups.values()];
};

const compared = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
/** By cost where there is one, then by tokens, then by runs: the largest first. */
const dearest = (rows) =>
  rows.sort((a, b) =>
    compared(b.cost_usd ?? -1n, a.cost_usd ?? -1n) ||
    compared(b.total_tokens ?? 0n, a.total_tokens ?? 0n) || compared(b.runs, a.runs));
const mostRuns = (rows) => rows.sort((a, b) => compared(b.runs, a.runs));

/** The smallest value that so many of a hundred do not exceed; null of none. */
const percentile = (rows, share) => {
  const sorted = [...rows].sort((a, b) => a.seconds - b.seconds);
  const all = sorted.reduce((sum, row) => sum + row.runs, 0n);
  let seen = 0n;
  for (const row of sorted) {
    seen += row.runs;
    if (seen * 100n >= all * BigInt(share)) return Number(row.seconds);
  }
  return null;
};

const named = (value) => (value === null || value === undefined ? "(none)" : value);
const daysOf = (filter) => days.filter((day) => filter.from <= day && day <= filter.to);
