"use strict";
// The pages are whole without this. It narrows, orders and compares, and keeps what was asked for in
// the address: #section?name=value, of every control that does not stand as it stood at first.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector) => document.querySelector(selector);

// State

const controls = all("form[data-state] :is(input, select)");

function isTicked(control) {
  return control.type === "checkbox" || control.type === "radio";
}

function isInitial(control) {
  if (isTicked(control)) return control.checked === control.defaultChecked;
  if (control.tagName !== "SELECT") return control.value === control.defaultValue;
  return control.selectedOptions[0].defaultSelected;
}

function section() {
  return location.hash.slice(1).split("?")[0];
}

function write() {
  const state = new URLSearchParams();
  for (const control of controls.filter((c) => !isInitial(c))) {
    if (control.type === "checkbox") state.set(control.name, control.checked ? "" : "no");
    else if (control.type !== "radio" || control.checked) state.set(control.name, control.value);
  }
  const query = state.toString().replaceAll(/=(?=&|$)/g, "");
  history.replaceState(null, "", `#${section()}${query && "?"}${query}`);
}

function read() {
  const state = new URLSearchParams(location.hash.split("?")[1] ?? "");
  for (const control of controls) {
    const value = state.get(control.name);
    if (control.type === "checkbox") control.checked = value === null ? control.defaultChecked : value !== "no";
    else if (control.type === "radio") control.checked = value === null ? control.defaultChecked : control.value === value;
    else if (control.tagName === "SELECT") {
      const wanted = [...control.options].find((option) => option.value === value);
      (wanted ?? [...control.options].find((option) => option.defaultSelected)).selected = true;
    } else control.value = value ?? control.defaultValue;
  }
}

const value = (name) => one(`form[data-state] :is(select, input[type=search], input:checked)[name="${name}"]`)?.value ?? "";

// Pick

const picked = one("#picked");
const leftOut = one("#left-out");
const stacks = all(":scope > li", picked);
const questions = all('#pick input[type="checkbox"]');

function showPick() {
  const asked = questions.filter((question) => question.checked).map((question) => question.name);
  const order = value("order");
  const number = (stack) => (stack.dataset[order] === "" ? Infinity : Number(stack.dataset[order]));
  const wanted = stacks.filter((stack) => value("servers") === "all" || !("other" in stack.dataset));
  const answers = (stack) => all("[data-for]", stack).filter((answer) => asked.includes(answer.dataset.for));
  const fits = (stack) => answers(stack).every((answer) => answer.className.includes("yes"));
  for (const stack of stacks)
    for (const answer of all("[data-for]", stack)) answer.classList.toggle("asked", asked.includes(answer.dataset.for));
  const ordered = wanted.toSorted((a, b) => (number(a) === number(b) ? 0 : number(a) - number(b)) || stacks.indexOf(a) - stacks.indexOf(b));
  const out = ordered.filter((stack) => !fits(stack));
  picked.replaceChildren(...ordered.filter(fits));
  one("#left-out > ol").replaceChildren(...out);
  for (const stack of wanted)
    for (const answer of all("[data-for]", stack))
      answer.hidden = out.includes(stack) && (!asked.includes(answer.dataset.for) || answer.className.includes("yes"));
  leftOut.hidden = !out.length;
  leftOut.firstElementChild.textContent = `Left out: ${out.length}, and why`;
  one("#pick-count").textContent = `${wanted.length - out.length} of ${wanted.length} stacks`;
}

// Matrix

const grid = one("#grid");
const columns = all("thead th[data-server]", grid);
const hiding = document.head.appendChild(document.createElement("style"));

function showColumns() {
  const wanted = value("columns");
  const isShown = (column) => wanted === "all" || (wanted ? column.dataset.server === wanted : "default" in column.dataset);
  const hidden = columns.filter((column) => !isShown(column)).map((column) => `#grid tr>:nth-child(${column.cellIndex + 1})`);
  hiding.textContent = hidden.length ? `${hidden.join()}{display:none}` : "";
  grid.classList.toggle("narrow", columns.length - hidden.length > 9);
}

function showRows() {
  const words = value("q").toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const body of grid.tBodies) {
    const isWanted = (row) => {
      const { level, by } = row.dataset;
      const text = `${body.dataset.group} ${row.cells[0].textContent} ${row.cells[0].firstElementChild.title}`.toLowerCase();
      return (
        (value("cases") === "all" || "differs" in row.dataset) &&
        (!value("group") || value("group") === body.dataset.group) &&
        (!value("level") || value("level") === level) &&
        (!value("by") || value("by") === by) &&
        words.every((word) => text.includes(word))
      );
    };
    const rows = [...body.rows].slice(1);
    for (const row of rows) row.hidden = !isWanted(row);
    const shown = rows.filter((row) => !row.hidden).length;
    const isFiltered = words.length || value("group") || value("level") || value("by");
    body.hidden = Boolean(isFiltered) && !shown;
    count += shown;
  }
  one("#matrix-count").textContent = `${count} of ${all("tr.case", grid).length} cases`;
}

// Side by side

const apps = all("[data-side]");

function showSide() {
  const chosen = apps.filter((app) => app.checked);
  for (const app of apps) app.disabled = !app.checked && chosen.length >= 4;
  const columns = chosen.map((app) => all(`#columns [data-app="${app.id.slice(5)}"]`));
  const lines = columns.map((cells) => cells.map((cell) => all(".l", cell)));
  const texts = lines.map((cells) => cells.map((cell) => new Set(cell.map((line) => line.textContent.trim()))));
  lines.forEach((cells, app) =>
    cells.forEach((cell, part) => {
      const others = texts.filter((_, other) => other !== app).map((other) => other[part]);
      for (const line of cell) {
        const text = line.textContent.trim();
        line.classList.toggle("own", others.length > 0 && text !== "" && !others.some((other) => other.has(text)));
      }
    }),
  );
}

// All

function show() {
  showPick();
  showColumns();
  showRows();
  showSide();
}

for (const form of all("form[data-state]")) {
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", () => (show(), write()));
  form.addEventListener("reset", () => setTimeout(() => (show(), write())));
}
addEventListener("hashchange", () => {
  // A link to a section keeps what was asked for; a link with answers of its own brings them.
  if (location.hash.includes("?")) (read(), show(), document.getElementById(section())?.scrollIntoView());
  else write();
});
read();
show();
document.documentElement.classList.remove("unready");
if (location.hash.includes("?")) document.getElementById(section())?.scrollIntoView();
