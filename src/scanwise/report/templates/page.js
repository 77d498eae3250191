(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("scanwise-data").textContent);
  const byId = (id) => document.getElementById(id);
  let paper = 0; // width of a figure on paper [px]; 0 = on screen, as wide as its card

  // ---- figures -------------------------------------------------------------------------------------------------
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue("--" + name).trim();
  };
  const put = (target, path, value) => {
    const steps = path.split(".");
    const last = steps.pop();
    let place = target;
    for (const step of steps) place = place[step] = place[step] || {};
    place[last] = value;
  };

  // Colours are named in meta.tokens of a trace and in the name of a shape or annotation; values come from the style sheet.
  function paint(spec) {
    const colour = colours();
    for (const trace of spec.data) {
      for (const [path, name] of Object.entries((trace.meta && trace.meta.tokens) || {})) put(trace, path, colour(name));
    }
    const layout = spec.layout;
    put(layout, "font.color", colour("soft"));
    for (const axis of ["xaxis", "yaxis"]) put(layout, axis + ".gridcolor", colour("line"));
    put(layout, "hoverlabel.bgcolor", colour("card"));
    put(layout, "hoverlabel.bordercolor", colour("faint"));
    put(layout, "hoverlabel.font.color", colour("ink"));
    for (const shape of layout.shapes || []) put(shape, "line.color", colour(shape.name));
    for (const note of layout.annotations || []) put(note, "font.color", colour(note.name));
  }

  function onPaper(spec) { // two figures on a page, and none taller than one
    const layout = spec.layout;
    for (const trace of spec.data.filter((one) => one.type === "sankey")) put(trace, "textfont.size", 9);
    const height = Math.min(Math.round(0.8 * layout.height), 960);
    Object.assign(layout, { width: paper, autosize: false, height });
    const labels = (layout.yaxis && layout.yaxis.ticktext) || [];
    const lines = Math.max(0, ...labels.map((one) => String(one).split("<br>").length));
    if (lines > 1) { // labels of several lines must not run into each other
      put(layout, "yaxis.tickfont.size", Math.max(5, Math.min(12, Math.floor(0.72 / lines * (height - 90) / labels.length))));
    }
  }

  function draw(id) {
    const box = byId("plot-" + id);
    if (!box) return null;
    box.classList.add("js-plotly-plot");
    const spec = structuredClone(data.figures[id]);
    paint(spec);
    if (id === "front") { // Plotly draws the axes and finds what is under the pointer; `mark` draws the protocols
      spec.data = spec.data.filter((one) => one.meta.role === "stairs" || DRAWN.includes(one.meta.role));
      for (const trace of spec.data.filter((one) => one.meta.role !== "stairs")) {
        Object.assign(trace, { mode: "none", error_y: {}, customdata: (trace.customdata || []).map((row) => [front.points[row].key, hover(front.points[row].key)]) });
      }
      spec.layout.showlegend = false;
    }
    if (!paper && box.clientWidth < 480) {
      for (const trace of spec.data.filter((one) => !one.type || one.type === "scatter")) trace.cliponaxis = false;
      put(spec.layout, "xaxis.nticks", 4); // more would run into each other
      put(spec.layout, "xaxis.automargin", false); // else labels and margins can chase each other
      const title = spec.layout.xaxis.title && spec.layout.xaxis.title.text;
      if (title && title.length > 24) {
        spec.layout.xaxis.title.text = title.replace(/^(.{10,}?) (?=.{0,24}$)/, "$1<br>");
        put(spec.layout, "margin.b", 64);
      }
      if (id !== "front" && spec.data.filter((one) => one.showlegend !== false).length > 2) spec.layout.height += 60; // the legend stacks
    }
    if (paper) onPaper(spec);
    return Plotly.react(box, spec.data, spec.layout, { displayModeBar: false, displaylogo: false, responsive: !paper });
  }
  // The front first, so that it is there before the others are begun.
  const order = Object.keys(data.figures).sort((a, b) => (b === "front") - (a === "front") || (a < b ? -1 : 1));
  const drawAll = () => Promise.all(order.map(draw));
  const pause = () => new Promise((go) => { setTimeout(go, 0); });

  // ---- the front: protocols are found by key, never by position --------------------------------------------------
  const DRAWN = ["above", "within", "reference", "proposal"]; // traces whose points are protocols
  const circle = (r) => "m" + -r + ",0a" + r + "," + r + " 0 1,0 " + 2 * r + ",0a" + r + "," + r + " 0 1,0 " + -2 * r + ",0z";
  const SHAPES = {
    above: "m-3,-3l6,6m-6,0l6,-6", within: "h0", alike: "h0", reference: "m-7,-7h14v14h-14z",
    proposal: "m0,-10l10,10l-10,10l-10,-10z", selected: circle(14), compared: circle(18),
  };
  const LAYERS = ["band", "alike", "above", "within", "reference", "proposal", "compared", "selected"]; // from below to above
  const front = data.front;
  const rows = front ? new Map(front.points.map((point, i) => [point.key, i])) : new Map();
  const point = (key) => front.points[rows.get(key)];
  const fact = (one, line) => front.words[one.facts[line]];
  const axes = front ? front.axes : [];
  const state = { selected: null, compared: null, positions: {} };
  const svg = (tag, name) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    made.setAttribute("class", name);
    return made;
  };
  const short = (words, longest) => (words.length > longest ? words.slice(0, longest - 1) + "…" : words);
  const say = (id, words) => { const box = byId(id); if (box.textContent !== words) box.textContent = words; };

  const atStart = () => front.sliders.every((slider) => state.positions[slider.axis] === slider.start);
  const stop = (slider) => slider.stops[state.positions[slider.axis]];
  function hover(key) { // Plotly reads tags, so there must be none; lines are short enough for a telephone
    const safe = (words) => words.trim().replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
    const one = point(key), last = front.labels.length - 1;
    const lines = short(one.label.replace(/\s+/g, " "), 70).match(/.{1,36}(\s|$)|.{1,36}/g) || [];
    return [...lines, fact(one, front.n_parts), "AUC " + fact(one, front.auc), fact(one, last)].map(safe).join("<br>");
  }

  function fitting() { // which protocols are within all limits, in the order of front.points
    const limits = Object.entries(front.limits);
    for (const slider of front.sliders) limits.push([slider.axis, stop(slider)]);
    const columns = limits.map(([axis, limit]) => [axes.indexOf(axis), limit + 1e-9]);
    return front.points.map((one) => columns.every(([column, limit]) => one.cost[column] === null || one.cost[column] <= limit));
  }

  // The same rule as `Chooser.pick` in choose.py. Returns a key, null where nothing fits, undefined where it cannot be known.
  const PRICE = 0, AUC = 1, ROW = 2, GOOD = 3, CONFIRMED = 4, ALIKE = 5;
  const facts = front && front.rule ? front.rule.protocols : [];
  const byPrice = facts.map((one, i) => i).sort((a, b) => facts[a][PRICE] - facts[b][PRICE]);
  const keyOf = (i) => front.points[i].key;
  function pick(fits) {
    if (!fits.includes(true)) return null;
    if (!front.rule) return pickFromLadder(fits);
    const affordable = byPrice.filter((i) => fits[i]);
    const good = affordable.filter((i) => facts[i][GOOD]);
    if (good.length) return keyOf(front.rule.in_sequence ? lastConfirmed(good) : good[0]);
    const ahead = (a, b) => facts[a][AUC] - facts[b][AUC] || facts[a][ROW] - facts[b][ROW];
    const mask = facts[affordable.reduce((a, b) => (ahead(b, a) < 0 ? b : a))][ALIKE];
    const alike = (place) => (parseInt(mask[mask.length - 1 - (place >> 2)] || "0", 16) >> (place & 3)) & 1;
    return keyOf(affordable.find((i) => alike(facts[i][PRICE])));
  }
  function lastConfirmed(good) { // `Chooser._in_sequence`
    const today = rows.get(front.reference);
    let sequence = [];
    for (const i of good) {
      if (!sequence.length || facts[i][AUC] < facts[sequence.at(-1)][AUC] || i === today) sequence.push(i);
    }
    if (sequence.includes(today)) sequence = sequence.slice(0, sequence.indexOf(today) + 1);
    let passed = null;
    for (const i of sequence.reverse()) {
      if (i !== today && !facts[i][CONFIRMED]) return passed === null ? i : passed;
      passed = i === today ? null : i;
    }
    return passed === null ? today : passed;
  }
  function pickFromLadder(fits) { // only where it holds: the same protocols are within reach as on that rung
    const slider = front.sliders.find((one) => one.axis === front.primary);
    if (!slider || !front.ladder.length) return undefined;
    const column = axes.indexOf(front.primary);
    const kept = front.sliders.every((one) => one === slider || state.positions[one.axis] === one.start);
    const reach = front.points.filter((one) => one.cost[column] !== null && one.cost[column] <= stop(slider) + 1e-9);
    if (!kept && reach.length !== fits.filter(Boolean).length) return undefined;
    return (rung() || { key: null }).key;
  }
  function rung() {
    const slider = front.sliders.find((one) => one.axis === front.primary);
    return slider && front.ladder.filter((one) => one.limit <= stop(slider) + 1e-9).pop();
  }

  function answer() { // which protocol is advised within the present limits, and in which words
    const fits = fitting();
    if (atStart()) return { key: front.proposal, words: front.headline, fits, start: true };
    const found = pick(fits);
    const biting = front.sliders.filter((one) => state.positions[one.axis] < one.stops.length - 1);
    const limits = biting.map((one) => one.texts[state.positions[one.axis]] + one.of).join(", ");
    const lead = limits ? "Within " + limits + ": " : "Without a limit: ";
    if (found === null) return { key: null, words: lead + front.nothing, fits };
    if (found === undefined) {
      const asked = biting.map((one) => " budget." + one.axis + "=" + stop(one)).join("");
      return { key: null, words: lead + front.unknown + asked, fits };
    }
    const vetoed = found === front.vetoed;
    const kept = front.sliders.every((one) => one.axis === front.primary || state.positions[one.axis] === one.start);
    const step = kept && rung();
    const words = step && step.key === found ? step.text : lead + short(point(found).label, 400) + ". AUC " + fact(point(found), front.auc) + ", " + front.judged[point(found).verdict] + "."
      + (vetoed ? " " + front.vetoed_words : "");
    return { key: vetoed ? front.reference : found, words, fits };
  }

  // One path per role, not one node per protocol: thousands are repainted while a slider moves.
  let where = new Map(); // key -> [x, y, low, high] in pixels
  function place() {
    const { xaxis, yaxis } = byId("plot-front")._fullLayout;
    where = new Map();
    for (const trace of data.figures.front.data.filter((one) => DRAWN.includes(one.meta.role))) {
      (trace.customdata || []).forEach((row, i) => {
        const y = trace.y[i], bars = trace.error_y;
        const pixels = [xaxis.c2p(trace.x[i]), ...[y, y - bars.arrayminus[i], y + bars.array[i]].map((one) => yaxis.c2p(one))];
        where.set(front.points[row].key, pixels.map((one) => Math.round(10 * one) / 10));
      });
    }
  }

  function roles(advice) { // the same sorting as `arrange` in front.py
    const found = Object.fromEntries(LAYERS.map((role) => [role, []]));
    front.points.forEach((one, i) => {
      if (!where.has(one.key)) return;
      const role = one.key === front.reference ? "reference" : one.key === advice.key ? "proposal" : advice.fits[i] ? "within" : "above";
      found[role].push(one.key);
      if (one.alike && advice.fits[i] && advice.key === front.proposal) found.alike.push(one.key);
      if (one.key === state.selected) found.selected.push(one.key);
      if (one.key === state.compared) found.compared.push(one.key);
    });
    if (found.alike.length) found.band = [...new Set([...found.alike, ...found.proposal])].sort((a, b) => where.get(a)[0] - where.get(b)[0]);
    return found;
  }

  function mark(advice) {
    const plot = byId("plot-front");
    let layer = plot.querySelector(".front-marks");
    if (!layer) {
      layer = svg("g", "front-marks");
      for (const role of LAYERS) layer.append(svg("path", "bars-" + role), svg("path", "mark mark-" + role));
      plot.querySelector(".scatterlayer").append(layer);
    }
    const found = layer.roles = roles(advice);
    for (const role of LAYERS) {
      const places = found[role].map((key) => where.get(key));
      const points = role === "band" ? places.map(([x, y], i) => (i ? "L" : "M") + x + "," + y)
        : places.map(([x, y]) => "M" + x + "," + y + SHAPES[role]);
      layer.querySelector(".mark-" + role).setAttribute("d", points.join(""));
      const bars = ["above", "within", "reference", "proposal"].includes(role) ? places.map(([x, , low, high]) => "M" + x + "," + low + "V" + high) : [];
      layer.querySelector(".bars-" + role).setAttribute("d", bars.join(""));
    }
  }

  function update() {
    const advice = answer();
    say("budget-headline", advice.words);
    byId("budget-headline").dataset.key = advice.key || "";
    say("fitting", advice.fits.filter(Boolean).length + " of " + front.points.length + " judged protocols are within these limits.");
    for (const slider of front.sliders) {
      const input = byId("slider-" + slider.axis), position = state.positions[slider.axis];
      if (Number(input.value) !== position) input.value = position;
      say("value-" + slider.axis, slider.texts[position]);
      input.setAttribute("aria-valuetext", slider.texts[position]);
    }
    byId("reset").disabled = atStart();
    mark(advice);
  }

  // ---- the card of one protocol, beside today's and one more ------------------------------------------------------
  function show() {
    for (const [id, key] of [["pick", state.selected], ["compare", state.compared]]) {
      if (byId(id).value !== (key || "")) byId(id).value = key || "";
    }
    byId("clear").disabled = !state.selected && !state.compared;
    const box = byId("selected");
    box.replaceChildren();
    if (!state.selected && !state.compared) return say("selected-said", "");
    const heads = new Map();
    if (state.selected) heads.set(state.selected, state.selected === front.reference ? "Today" : "This protocol");
    if (!heads.has(front.reference)) heads.set(front.reference, "Today");
    if (state.compared && !heads.has(state.compared)) heads.set(state.compared, "Compared");
    const keys = [...heads.keys()];
    const add = (parent, tag, words, attributes) => {
      const made = document.createElement(tag);
      made.textContent = words;
      Object.assign(made, attributes || {});
      parent.append(made);
      return made;
    };
    const table = document.createElement("table");
    add(table, "caption", short(point(keys[0]).label, 400), { dir: "auto" });
    const top = add(add(table, "thead", ""), "tr", "");
    add(top, "td", "");
    keys.forEach((key) => add(top, "th", heads.get(key), { scope: "col" }).dataset.key = key);
    const body = add(table, "tbody", "");
    front.labels.forEach((label, line) => {
      const row = add(body, "tr", "");
      add(row, "th", label, { scope: "row", dir: "auto" });
      const today = fact(point(front.reference), line);
      keys.forEach((key) => {
        const words = fact(point(key), line);
        add(row, "td", words, { dir: "auto", className: line < front.n_parts && words !== today ? "differs" : "" });
      });
    });
    box.append(table);
    say("selected-said", keys.map((key) => heads.get(key)).join(" beside ") + ": the table below shows them.");
  }
  function choose(selected, compared) {
    state.selected = rows.has(selected) ? selected : null;
    state.compared = rows.has(compared) ? compared : null;
    show();
    update();
  }

  // ---- the state of the page is in its address: #section&axis=limit&protocol=key&compare=key -------------------------
  let moved = "", waiting = 0;
  function address(section) {
    const words = new URLSearchParams();
    for (const slider of front.sliders) if (state.positions[slider.axis] !== slider.start) words.set(slider.axis, stop(slider));
    if (state.selected) words.set("protocol", state.selected);
    if (state.compared) words.set("compare", state.compared);
    return [section, words.toString()].filter(Boolean).join("&");
  }
  function sectionOf(hash) {
    const id = hash.replace(/^#/, "").split("&")[0];
    return id && !id.includes("=") && document.getElementById(id) ? id : "";
  }
  function write(method) {
    const hash = address(sectionOf(location.hash));
    const target = location.href.split("#")[0] + (hash ? "#" + hash : "");
    try {
      if (target !== location.href || method === "replaceState") history[method]({ scanwise: true }, "", target);
    } catch { /* some browsers refuse this for files: the page works, only its address stays */ }
  }
  function remember(control) { // moves of one slider are one step back
    clearTimeout(waiting);
    const go = () => { write(control && control === moved ? "replaceState" : "pushState"); moved = control; };
    if (control) waiting = setTimeout(go, 150); else go();
  }
  function restore() { // what cannot be read is left out
    const hash = location.hash.slice(1);
    const words = new URLSearchParams(hash);
    for (const slider of front.sliders) {
      const limit = words.get(slider.axis);
      const below = limit === null || limit.trim() === "" ? -1 : slider.stops.filter((one) => one <= Number(limit) + 1e-9).length - 1;
      state.positions[slider.axis] = below >= 0 ? below : slider.start;
    }
    choose(words.get("protocol"), words.get("compare"));
    const section = sectionOf(hash);
    if (section && hash !== section) byId(section).scrollIntoView();
  }
  function followed() { // back, forward, a typed address, or a link to a section, which keeps the state
    clearTimeout(waiting);
    moved = "";
    const link = sectionOf(location.hash) && sectionOf(location.hash) === location.hash.slice(1);
    if (!(link && !(history.state && history.state.scanwise))) restore();
    write("replaceState");
  }

  function explore() {
    document.querySelector(".controls").hidden = false;
    for (const box of document.querySelectorAll("#legend svg")) {
      const role = box.dataset.mark;
      const made = svg("path", "mark mark-" + role);
      const small = { band: "M6,10H22", stairs: "M2,15H12V6H26", selected: "M14,10" + circle(8), compared: "M14,10" + circle(8) };
      made.setAttribute("d", small[role] || "M14,10" + SHAPES[role]);
      box.append(made);
    }
    for (const slider of front.sliders) {
      const input = byId("slider-" + slider.axis);
      input.addEventListener("input", () => { state.positions[slider.axis] = Number(input.value); update(); });
      input.addEventListener("change", () => remember(slider.axis));
    }
    for (const id of ["pick", "compare"]) byId(id).append(...front.points.map((one) => new Option(short(one.label, 90), one.key)));
    byId("pick").addEventListener("change", (event) => { choose(event.target.value, state.compared); remember(""); });
    byId("compare").addEventListener("change", (event) => { choose(state.selected, event.target.value); remember(""); });
    const clear = () => { choose(null, null); remember(""); };
    byId("clear").addEventListener("click", () => { clear(); byId("pick").focus(); });
    byId("reset").addEventListener("click", () => {
      for (const slider of front.sliders) state.positions[slider.axis] = slider.start;
      update();
      remember("");
      byId("slider-" + front.sliders[0].axis).focus();
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && (state.selected || state.compared)) clear();
    });
    const plot = byId("plot-front");
    plot.on("plotly_afterplot", () => { place(); mark(answer()); });
    plot.on("plotly_click", (event) => {
      const key = event.points[0].customdata[0];
      choose(key === state.selected ? null : key, state.compared);
      remember("");
    });
    window.addEventListener("hashchange", followed);
    place();
    restore();
    write("replaceState");
  }

  // ---- the page ------------------------------------------------------------------------------------------------
  function scheme() { // light, dark or as the system; `paintScheme` stands in the head, so that nothing flashes
    const box = byId("scheme");
    box.parentElement.hidden = false;
    box.value = document.documentElement.dataset.scheme || "";
    box.addEventListener("change", () => {
      try { localStorage.setItem("scanwise-scheme", box.value); } catch { /* kept for this visit only */ }
      paintScheme(box.value);
      drawAll();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
  }

  async function start() {
    scheme();
    window.addEventListener("beforeprint", () => { paper = 780; drawAll(); });
    window.addEventListener("afterprint", () => { paper = 0; drawAll(); });
    const copy = byId("copy-methods");
    if (copy && navigator.clipboard) {
      copy.hidden = false;
      copy.addEventListener("click", () => navigator.clipboard.writeText(byId("methods-text").innerText)
        .then(() => say("copied", "Copied."), () => say("copied", "The browser refused; select the text instead.")));
    }
    for (const id of order) {
      await draw(id);
      if (id === "front") explore();
      if (id === order[0]) performance.mark("scanwise-first-plot");
      await pause(); // the page answers while the others are drawn
    }
    document.documentElement.dataset.ready = "yes";
  }
  start();
})();
