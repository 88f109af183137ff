const wide = matchMedia("(min-width: 70rem)").matches;
for (const part of document.querySelectorAll(".contents, .facts")) part.open = wide;

const unfold = () => {  // a link to a folded part opens it
  const part = document.getElementById(location.hash.slice(1));
  if (part?.localName === "details") part.open = true;
};
addEventListener("hashchange", unfold);
unfold();

for (const button of document.querySelectorAll(".copy")) {
  button.addEventListener("click", async () => {
    const code = button.nextElementSibling;
    getSelection().selectAllChildren(code);  // for those whose browser forbids the rest
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  });
}

for (const head of document.querySelectorAll("table.sortable th")) {
  head.querySelector("button").addEventListener("click", () => {
    const table = head.closest("table"), body = table.tBodies[0];
    const up = head.getAttribute("aria-sort") !== "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    const known = [], empty = [];  // empty cells stay at the end
    for (const row of body.rows) {
      const text = row.cells[head.cellIndex].textContent.trim();
      (text === "" || text === "–" ? empty : known).push([text, parseFloat(text), row]);
    }
    const numbers = known.every(([, number]) => !isNaN(number));  // "1.9 to 4.8" is 1.9, "3/40" is 3
    known.sort(([a, x], [b, y]) => (up ? 1 : -1) *
      (numbers ? x - y : a.localeCompare(b, undefined, {numeric: true})));
    body.append(...[...known, ...empty].map(([, , row]) => row));
  });
}
