/* The ledger's table: a button in each head sorts it, and the fields above it show a part of it. */

const table = document.querySelector("article table");
const body = table.tBodies[0];
const rows = [...body.rows];
const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
const text = (row, column) => row.cells[column].textContent.trim();

/* A labelled field of a form. */
function field(name, control) {
  const label = document.createElement("label");
  label.append(name, " ", control);
  control.addEventListener("input", show);
  return label;
}

/* A choice among the different texts of a column. */
function choice(name) {
  const select = document.createElement("select");
  const column = names.indexOf(name);
  const found = new Set(rows.map((row) => text(row, column)));
  select.append(new Option("all", ""), ...[...found].sort().map((value) => new Option(value)));
  select.dataset.column = column;
  return field(name, select);
}

/* Show the rows that hold every word and every choice, and say how many. */
function show() {
  const words = search.value.toLowerCase().split(/\s+/);
  const choices = [...form.querySelectorAll("select")].filter((select) => select.value);
  for (const row of rows) {
    const said = row.textContent.toLowerCase();
    const chosen = choices.every((select) => text(row, select.dataset.column) === select.value);
    row.hidden = !(chosen && words.every((word) => said.includes(word)));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  count.textContent = `${shown} of ${rows.length} claims`;
}

/* Sort by a column, upwards first; a second time downwards. */
function sort(column, head) {
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const compare = (a, b) => text(a, column).localeCompare(text(b, column), "en", { numeric: true });
  rows.sort((a, b) => (up ? compare(a, b) : compare(b, a)));
  body.append(...rows);
}

const form = document.createElement("form");
const search = document.createElement("input");
const count = document.createElement("output");
form.className = "ledger-fields";
search.type = "search";
form.addEventListener("submit", (event) => event.preventDefault());
form.append(field("words", search), ...["verdict", "source", "notebook"].map(choice), count);
(table.closest(".table-wrapper") ?? table).before(form);
names.forEach((name, column) => {
  const head = table.tHead.rows[0].cells[column];
  const button = document.createElement("button");
  button.textContent = name;
  button.addEventListener("click", () => sort(column, head));
  head.replaceChildren(button);
});
rows.forEach((row) => row.cells[0].classList.add("verdict", text(row, 0)));
show();
