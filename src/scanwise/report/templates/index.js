(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("scanwise-data").textContent);
  const byPath = new Map(data.runs.map((run) => [run.path, run]));
  const at = (id) => document.getElementById(id);
  const make = (tag, words, parent, settings) => {
    const made = document.createElement(tag);
    if (words !== null && words !== undefined) made.textContent = words;
    Object.assign(made, settings || {});
    if (parent) parent.append(made);
    return made;
  };
  const NEWEST = "-started";
  const LONGEST_SEARCH = 200;
  const MANY_SETTINGS = 30;
  const state = { a: "", b: "", q: "", sort: NEWEST };
  let strays = []; // runs that a link names and that are not listed

  // ---- the list ---------------------------------------------------------------------------------------------------
  const body = document.querySelector("#list tbody");
  const rows = body ? [...body.rows] : []; // as Python ordered them
  const heads = [...document.querySelectorAll("#list th[data-sort]")];
  const sorts = new Map(heads.map((head) => [head.dataset.sort, head]));
  const words = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

  function known(sort) {
    return sorts.has(sort.replace(/^-/, ""));
  }

  function arrange() { // what is missing stands last both ways; prices only among their own currency
    const down = state.sort.startsWith("-");
    const name = state.sort.replace(/^-/, "");
    const number = sorts.get(name).dataset.kind === "number";
    const key = (row) => {
      const cell = row.querySelector(`[data-column="${name}"]`);
      const value = cell.dataset.value;
      return { group: cell.dataset.group || "", value: value === "" ? null : number ? Number(value) : value.toLowerCase() };
    };
    const sign = down ? -1 : 1;
    const compare = (x, y) => {
      if ((x.value === null) !== (y.value === null)) return x.value === null ? 1 : -1;
      if (x.group !== y.group) return x.group < y.group ? -1 : 1;
      return x.value === y.value ? 0 : x.value < y.value ? -sign : sign;
    };
    const keyed = rows.map((row) => [key(row), row]);
    body.append(...keyed.sort((x, y) => compare(x[0], y[0])).map((one) => one[1]));
    for (const [one, head] of sorts) head.setAttribute("aria-sort", one !== name ? "none" : down ? "descending" : "ascending");
    at("order").value = state.sort;
  }

  function filter() {
    const wanted = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      row.hidden = !wanted.every((word) => words.get(row).includes(word));
      shown += !row.hidden;
    }
    at("found").textContent = wanted.length ? `${shown} of ${rows.length} runs` : `${rows.length} runs`;
    at("nothing").hidden = shown > 0;
  }

  // ---- the comparison ---------------------------------------------------------------------------------------------
  const names = (run) => `${run.title} · ${run.path}`;
  const short = (hash) => hash.slice(0, 8);

  function settings(run) {
    if (!run.settings) return null;
    return new Map(Object.entries({ ...data.bases[run.settings.base], ...run.settings.changed }).filter((one) => one[1] !== null));
  }

  function notes(a, b) {
    const found = [];
    const warn = (text) => found.push(["warning", text]);
    const virtual = [a, b].filter((run) => run.virtual);
    if (virtual.length) warn(`Virtual cohort${virtual.length > 1 ? "s" : ` (${names(virtual[0])})`}: the patients are simulated, nobody was examined.`);
    if (!a.data || !b.data) warn("It is not known whether both runs saw the same data: do not compare their AUCs.");
    else if (a.data !== b.data) warn(`Not the same data (${short(a.data)} and ${short(b.data)}): AUCs of different patients are not comparable. Each run only says how its proposal compares with today's protocol on its own patients.`);
    else found.push(["agree", `The same data (${short(a.data)}). Both AUCs have their own interval; whether one run is better than the other is not tested here.`]);
    if (a.fingerprint && a.fingerprint === b.fingerprint) found.push(["agree", "Both hold the very same recommendation."]);
    if (a.currency !== b.currency) warn(`Prices are in different currencies: ${a.currency || "none"} and ${b.currency || "none"}.`);
    return found;
  }

  function frame(a, b, caption) {
    const table = document.createElement("table");
    table.className = "compare";
    make("caption", caption, table, { className: "hidden" });
    const columns = make("colgroup", null, table);
    make("col", null, columns, { className: "label" });
    make("col", null, columns);
    make("col", null, columns);
    const top = make("tr", null, make("thead", null, table));
    make("td", "", top);
    for (const run of [a, b]) {
      const head = make("th", null, top, { scope: "col" });
      if (run.href) make("a", run.title, head, { href: run.href, dir: "auto" });
      else make("span", run.title, head, { dir: "auto" });
      make("code", run.path, make("small", null, head), { dir: "auto" });
      if (run.virtual) make("span", "virtual cohort", head, { className: "pill pill-virtual" });
    }
    return table;
  }

  function line(body, label, cells, same) {
    const row = make("tr", null, body, { className: same ? "" : "differs" });
    const head = make("th", label, row, { scope: "row", dir: "auto" });
    if (!same) make("span", " (differs)", head, { className: "hidden" });
    for (const cell of cells) row.append(cell);
  }

  function told(fact) { // one cell of facts; nothing where the other run alone has it
    const cell = document.createElement("td");
    if (!fact) {
      make("span", "not in this run", cell, { className: "unset" });
      return cell;
    }
    const [, , items, note] = fact;
    if (items.length === 1) make("span", items[0], cell, { dir: "auto" });
    else for (const item of items) make("li", item, cell.querySelector("ul") || make("ul", null, cell), { dir: "auto" });
    if (note) make("small", note, cell, { dir: "auto" });
    return cell;
  }

  function facts(a, b) {
    const table = frame(a, b, "Two runs side by side");
    const key = (fact) => JSON.stringify(fact.slice(0, 2));
    const sides = [a, b].map((run) => new Map(run.facts.map((fact) => [key(fact), fact])));
    const groups = [...new Set([...a.facts, ...b.facts].map((fact) => fact[0]))];
    for (const group of groups) {
      const body = make("tbody", null, table);
      make("th", group, make("tr", null, body, { className: "group" }), { colSpan: 3, scope: "rowgroup" });
      const keys = new Set([...a.facts, ...b.facts].filter((fact) => fact[0] === group).map(key));
      for (const one of keys) {
        const pair = sides.map((side) => side.get(one));
        line(body, (pair[0] || pair[1])[1], pair.map(told), JSON.stringify(pair[0]) === JSON.stringify(pair[1]));
      }
    }
    return table;
  }

  function differing(a, b) {
    const box = document.createElement("div");
    make("h3", "Settings that differ", box);
    const sides = [settings(a), settings(b)];
    const unknown = [a, b].filter((run, i) => !sides[i]);
    if (unknown.length) {
      make("p", `The settings of ${unknown.map(names).join(" and ")} are not there.`, box, { className: "empty", dir: "auto" });
      return box;
    }
    const keys = [...new Set([...sides[0].keys(), ...sides[1].keys()])].filter((key) => sides[0].get(key) !== sides[1].get(key)).sort();
    if (!keys.length) {
      make("p", "None: both runs have the same configuration.", box, { className: "empty" });
      return box;
    }
    const details = make("details", null, box, { open: keys.length <= MANY_SETTINGS });
    make("summary", keys.length === 1 ? "1 setting" : `${keys.length} settings`, details);
    const table = frame(a, b, "Settings that differ");
    table.classList.add("settings");
    details.append(table);
    const bodies = new Map();
    for (const key of keys) {
      const group = key.split(/[.[]/)[0];
      if (!bodies.has(group)) {
        const body = make("tbody", null, table);
        bodies.set(group, body);
        make("th", group, make("tr", null, body, { className: "group" }), { colSpan: 3, scope: "rowgroup" });
      }
      const cells = sides.map((side) => {
        const cell = document.createElement("td");
        if (side.has(key)) make("code", side.get(key), cell, { dir: "auto" });
        else make("span", "not set", cell, { className: "unset" });
        return cell;
      });
      line(bodies.get(group), key.slice(group.length).replace(/^\./, "") || key, cells, true);
    }
    return box;
  }

  function compare() {
    const box = at("compared");
    const [a, b] = [byPath.get(state.a), byPath.get(state.b)];
    box.replaceChildren();
    for (const path of strays) make("p", `A run that the link names is not listed here: ${path}`, box, { className: "warning", dir: "auto" });
    if (!a || !b) {
      make("p", a || b ? "Pick a second run." : "Pick two runs: tick them in the list, or choose them here.", box, { className: "empty" });
      return;
    }
    for (const [kind, text] of notes(a, b)) make("p", text, box, { className: kind, dir: "auto" });
    box.append(facts(a, b), differing(a, b));
  }

  function pick() { // list, tray and selects say what is picked
    const chosen = [state.a, state.b].filter(Boolean);
    for (const row of rows) {
      const inside = chosen.includes(row.dataset.path);
      row.classList.toggle("picked", inside);
      row.querySelector(".pick-cell input").checked = inside;
    }
    at("first").value = state.a;
    at("second").value = state.b;
    at("tray").hidden = !chosen.length;
    at("show").disabled = chosen.length < 2;
    const one = chosen.map((path) => names(byPath.get(path)));
    const text = one.length === 2 ? `${one[0]} and ${one[1]}` : one.length ? `${one[0]}; tick another run to compare it with` : "";
    if (at("picked").textContent !== text) at("picked").textContent = text;
    compare();
  }

  // ---- state, also in the address --------------------------------------------------------------------------------
  function write(push) {
    const kept = new URLSearchParams();
    for (const name of ["a", "b", "q"]) if (state[name]) kept.set(name, state[name]);
    if (state.sort !== NEWEST) kept.set("sort", state.sort);
    const hash = kept.toString();
    const url = location.href.split("#")[0] + (hash ? "#" + hash : "");
    if (url === location.href) return;
    if (push) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  }

  function read() { // whatever somebody typed there: what is not known is left out
    const raw = location.hash.slice(1);
    if (raw && !raw.includes("=")) return false;
    const given = new URLSearchParams(raw);
    const wanted = ["a", "b"].map((name) => given.get(name) || "");
    strays = wanted.filter((path) => path && !byPath.has(path)).map((path) => path.slice(0, LONGEST_SEARCH));
    const chosen = [...new Set(wanted.filter((path) => byPath.has(path)))];
    state.a = chosen[0] || "";
    state.b = chosen[1] || "";
    state.q = (given.get("q") || "").slice(0, LONGEST_SEARCH);
    const sort = given.get("sort") || NEWEST;
    state.sort = known(sort) ? sort : NEWEST;
    return true;
  }

  function show() {
    at("search").value = state.q;
    arrange();
    filter();
    pick();
  }

  function choose(a, b) {
    [state.a, state.b] = a ? [a, b === a ? "" : b] : [b, ""];
    strays = [];
    pick();
    write(true);
  }

  function toggle(path, on) { // a third run takes the place of the one that was picked first
    const left = [state.a, state.b].filter((one) => one && one !== path);
    if (on) left.push(path);
    choose(...[...left.slice(-2), "", ""].slice(0, 2));
  }

  function sortBy(sort) {
    state.sort = sort;
    arrange();
    write(false);
  }

  function go(id, behavior) { // within the page, without touching the address, which holds the state
    at(id === "comparison" ? "comparison-title" : id).focus({ preventScroll: true });
    at(id).scrollIntoView({ behavior: behavior || "auto" });
  }

  function prepare() {
    document.documentElement.classList.add("js");
    const order = at("order");
    for (const head of heads) {
      const label = head.textContent;
      const name = head.dataset.sort;
      const number = head.dataset.kind === "number";
      head.textContent = "";
      head.setAttribute("aria-sort", "none");
      make("button", label, head, { type: "button", className: "sort" }).addEventListener("click", () => {
        const first = name === "started" || name === "auc" || name === "patients" ? "-" + name : name;
        const other = first.startsWith("-") ? name : "-" + name;
        sortBy(state.sort === first ? other : first);
      });
      const [up, down] = name === "started" ? ["oldest first", "newest first"] : number ? ["lowest first", "highest first"] : ["A to Z", "Z to A"];
      const plain = label.replace(/[,(].*/, "").trim();
      make("option", `${plain}, ${up}`, order, { value: name });
      make("option", `${plain}, ${down}`, order, { value: "-" + name });
    }
    order.addEventListener("change", () => sortBy(order.value));
    at("search").addEventListener("input", (event) => {
      state.q = event.target.value.slice(0, LONGEST_SEARCH);
      filter();
      write(false);
    });
    for (const row of rows) {
      const run = byPath.get(row.dataset.path);
      const box = make("input", null, row.querySelector(".pick-cell"), { type: "checkbox" });
      box.setAttribute("aria-label", `Compare ${names(run)}`);
      box.addEventListener("change", () => toggle(run.path, box.checked));
    }
    for (const id of ["first", "second"]) {
      make("option", "choose a run", at(id), { value: "" });
      for (const run of data.runs) make("option", names(run).slice(0, LONGEST_SEARCH), at(id), { value: run.path });
    }
    at("first").addEventListener("change", (event) => choose(event.target.value, state.b === event.target.value ? state.a : state.b));
    at("second").addEventListener("change", (event) => choose(state.a === event.target.value ? state.b : state.a, event.target.value));
    at("show").addEventListener("click", () => go("comparison"));
    at("clear").addEventListener("click", () => { choose("", ""); at("search").focus(); });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && event.target !== at("search") && state.a) choose("", "");
    });
    for (const id of ["tools", "choose"]) at(id).hidden = false;
    window.addEventListener("hashchange", () => { if (read()) show(); });
    read();
    show();
    if ((state.a && state.b) || strays.length) go("comparison", "instant");
  }

  for (const anchor of document.querySelectorAll('a[href^="#"]')) {
    anchor.addEventListener("click", (event) => { event.preventDefault(); go(anchor.getAttribute("href").slice(1)); });
  }
  if (rows.length) prepare();
  document.documentElement.dataset.ready = "yes";
})();
