"use strict";
// Theme: follows the system until the button says otherwise.
const root = document.documentElement;
const button = document.querySelector(".theme");
const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const label = () => { button.textContent = dark() ? "Light theme" : "Dark theme"; };
button.addEventListener("click", () => {
  root.dataset.theme = dark() ? "light" : "dark";
  try { localStorage.setItem("concat-theme", root.dataset.theme); } catch { /* a page opened from disk may have none */ }
  label();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
button.hidden = false;
label();
// Tables: a click on a heading sorts by its column, a second one the other way round; empty cells stay last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const text = head.textContent.trim();
    head.innerHTML = '<button type="button"></button>';
    head.firstChild.textContent = text;
    head.firstChild.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const before = head.getAttribute("aria-sort");
      const falling = before ? before === "ascending" : numeric;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const order = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        return (falling ? -1 : 1) * (numeric ? x - y : x.localeCompare(y));
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
    });
  });
}
// Pictures: a click, Enter or Space enlarges one; the same or Escape puts it back.
const dialog = document.querySelector("dialog");
for (const image of document.querySelectorAll(".gallery img")) {
  const opener = document.createElement("button");
  opener.type = "button";
  opener.title = "Enlarge";
  image.replaceWith(opener);
  opener.append(image);
  opener.addEventListener("click", () => {
    const large = image.cloneNode();
    dialog.firstElementChild.replaceChildren(large);
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
// Print what is folded away too.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => { part.open = true; }));
