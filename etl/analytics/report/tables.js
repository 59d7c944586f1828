// Tables and texts: every text of the data goes through textContent, never through HTML.
const MOST_ROWS = 500;

const element = (name, attributes = {}, text = null) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
};

const column = (heading, value, told = named) => ({ heading, value, told, isNumber: false });
const number = (heading, value, told = counted) => ({ heading, value, told, isNumber: true });
const money = (heading, value) =>
  ({ heading, value, told: (usd) => dollars(usd), isNumber: true, isMoney: true });

const cellOf = (each, row, isFirst) => {
  const value = each.value(row);
  const cell = element(isFirst ? "th" : "td", isFirst ? { scope: "row" } : {}, each.told(value));
  if (each.isNumber) cell.className = "number";
  if (each.isMoney) cell.dataset.exact = allDecimals(value);
  return cell;
};

const bodyOf = (columns, rows) => {
  const body = element("tbody");
  for (const row of rows.slice(0, MOST_ROWS)) {
    const line = element("tr");
    columns.forEach((each, place) => line.append(cellOf(each, row, place === 0)));
    body.append(line);
  }
  return body;
};

const headOf = (columns) => {
  const line = element("tr");
  for (const each of columns) {
    const cell = element("th", { scope: "col" }, each.heading);
    if (each.isNumber) cell.className = "number";
    line.append(cell);
  }
  const head = element("thead");
  head.append(line);
  return head;
};

/** Put the rows into the table of that name, in the place of those it had. */
const showTable = (name, caption, columns, rows) => {
  const table = document.getElementById(`table-${name}`);
  const cut = rows.length > MOST_ROWS ? `; the first ${counted(MOST_ROWS)} of ${counted(rows.length)} rows` : "";
  table.replaceChildren(element("caption", {}, caption + cut), headOf(columns), bodyOf(columns, rows));
  document.getElementById(`empty-${name}`).hidden = rows.length > 0;
  table.hidden = rows.length === 0;
};

const showTile = (name, text, exactly = null) => {
  const tile = document.getElementById(`total-${name}`);
  tile.textContent = text;
  if (exactly !== null) tile.dataset.exact = exactly;
};
