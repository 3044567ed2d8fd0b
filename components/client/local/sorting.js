// A table sorts by the column whose heading is pressed; pressed again, the other way round.
function valueOf(row, column) {
  const text = row.cells[column].textContent.trim();
  return { text, number: Number.parseFloat(text.replaceAll(",", "").replace("\u2212", "-")) };
}

function compare(one, other) {
  const blank = Number.isNaN(one.number) - Number.isNaN(other.number);
  return blank || one.number - other.number || one.text.localeCompare(other.text);
}

function sort(table, column, heading) {
  const upward = heading.ariaSort !== "ascending";
  for (const each of table.tHead.rows[0].cells) each.ariaSort = null;
  heading.ariaSort = upward ? "ascending" : "descending";
  const valued = [...table.tBodies[0].rows].map(row => ({ row, value: valueOf(row, column) }));
  valued.sort((a, b) => compare(a.value, b.value) * (upward ? 1 : -1));
  table.tBodies[0].append(...valued.map(each => each.row));
}

for (const table of document.querySelectorAll("table")) {
  const rows = [...(table.tBodies[0]?.rows ?? [])];
  const headings = table.tHead?.rows.length === 1 ? [...table.tHead.rows[0].cells] : [];
  if (rows.length < 3 || rows.some(row => row.cells.length !== headings.length)) continue;
  headings.forEach((heading, column) => {
    if (heading.tagName !== "TH" || !heading.textContent.trim()) return;
    const button = document.createElement("button");
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(table, column, heading));
    heading.append(button);
  });
}
