(() => {
  "use strict";
  const data = JSON.parse(document.getElementById("scanwise-data").textContent);
  let paper = 0; // width of a figure on paper [px]; 0 = on screen, as wide as its card
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const put = (target, path, value) => {
    const steps = path.split(".");
    const last = steps.pop();
    let place = target;
    for (const step of steps) place = place[step] = place[step] || {};
    place[last] = value;
  };

  // Colours are named in meta.tokens of a trace and in the name of a shape or annotation; values come from the style sheet.
  function painted(spec) {
    const copy = structuredClone(spec);
    for (const trace of copy.data) {
      for (const [path, name] of Object.entries((trace.meta && trace.meta.tokens) || {})) put(trace, path, colour(name));
    }
    const layout = copy.layout;
    put(layout, "font.color", colour("soft"));
    for (const axis of ["xaxis", "yaxis"]) put(layout, axis + ".gridcolor", colour("line"));
    put(layout, "hoverlabel.bgcolor", colour("card"));
    put(layout, "hoverlabel.bordercolor", colour("faint"));
    put(layout, "hoverlabel.font.color", colour("ink"));
    for (const shape of layout.shapes || []) put(shape, "line.color", colour(shape.name));
    for (const note of layout.annotations || []) put(note, "font.color", colour(note.name));
    return copy;
  }

  const specs = structuredClone(data.figures);
  function draw(id) {
    const box = document.getElementById("plot-" + id);
    if (!box) return null;
    box.classList.add("js-plotly-plot");
    const spec = painted(specs[id]);
    if (!paper && box.clientWidth < 480 && spec.data.filter((one) => one.showlegend !== false).length > 2) spec.layout.height += 60; // the legend stacks
    if (paper) Object.assign(spec.layout, { width: paper, autosize: false });
    const config = { displayModeBar: false, displaylogo: false, responsive: !paper };
    return Plotly.react(box, spec.data, spec.layout, config);
  }
  const drawAll = () => Promise.all(Object.keys(specs).sort().map(draw));

  // ---- the front: protocols are found by key, never by position ------------------------------------------------
  const front = data.front;
  const state = { selected: null, positions: {} };
  const text = (id, value) => { document.getElementById(id).textContent = value; };

  function original() { // key -> the point as Python placed it
    const found = new Map();
    for (const trace of data.figures.front.data) {
      (trace.customdata || []).forEach((custom, i) => {
        if (!trace.error_y || !trace.error_y.array) return;
        found.set(custom[0], { x: trace.x[i], y: trace.y[i], custom, up: trace.error_y.array[i], down: trace.error_y.arrayminus[i] });
      });
    }
    return found;
  }

  function answer() { // which protocol is advised at the present budget, and in which words
    const start = front.sliders.every((slider) => state.positions[slider.axis] === slider.start);
    if (start) return { key: front.proposal, words: front.headline, start };
    const slider = front.sliders.find((one) => one.axis === front.primary);
    if (!slider || !front.ladder.length) return { key: front.proposal, words: front.headline, start };
    const budget = slider.stops[state.positions[slider.axis]];
    const rung = front.ladder.filter((one) => one.limit <= budget + 1e-9).pop();
    if (!rung) return { key: null, words: front.below, start };
    const point = front.points.find((one) => one.key === rung.key);
    const over = point ? front.sliders.filter((one) => {
      return one.axis !== front.primary && point.cost[one.axis] > one.stops[state.positions[one.axis]] + 1e-9;
    }) : [];
    const words = over.length
      ? rung.text + " It is above your limit for " + over.map((one) => one.label.toLowerCase()).join(", ")
        + "; ask the recommend stage with that budget (" + over.map((one) => "budget." + one.axis + "=" + one.stops[state.positions[one.axis]]).join(" ") + ")."
      : rung.text;
    return { key: over.length ? null : rung.key, words, start };
  }

  function arrange() { // the same sorting as `arrange` in front.py
    const advice = answer();
    const placed = original();
    const within = (point) => Object.entries(front.limits).every(([axis, limit]) => point.cost[axis] <= limit + 1e-9)
      && front.sliders.every((one) => point.cost[one.axis] <= one.stops[state.positions[one.axis]] + 1e-9);
    const greyed = new Set(data.figures.front.data.filter((t) => t.meta.role === "above").flatMap((t) => t.customdata.map((c) => c[0])));
    const roles = { above: [], within: [], alike: [], reference: [], proposal: [], selected: [] };
    for (const point of front.points) {
      if (!placed.has(point.key)) continue;
      const feasible = advice.start ? !greyed.has(point.key) : within(point);
      if (point.key === front.reference) roles.reference.push(point.key);
      if (point.key === advice.key && point.key !== front.reference) roles.proposal.push(point.key);
      if (point.key !== front.reference && point.key !== advice.key) roles[feasible ? "within" : "above"].push(point.key);
      if (point.alike && feasible && advice.key === front.proposal) roles.alike.push(point.key);
      if (point.key === state.selected) roles.selected.push(point.key);
    }
    for (const trace of specs.front.data.filter((one) => one.meta.role in roles)) {
      const mine = roles[trace.meta.role].map((key) => placed.get(key));
      trace.x = mine.map((one) => one.x);
      trace.y = mine.map((one) => one.y);
      trace.customdata = mine.map((one) => one.custom);
      if (trace.error_y && trace.error_y.type === "data") {
        trace.error_y.array = mine.map((one) => one.up);
        trace.error_y.arrayminus = mine.map((one) => one.down);
      }
    }
    return advice;
  }

  function update() {
    const advice = arrange();
    if (document.getElementById("budget-headline").textContent !== advice.words) text("budget-headline", advice.words);
    for (const slider of front.sliders) {
      const words = slider.texts[state.positions[slider.axis]];
      text("value-" + slider.axis, words);
      document.getElementById("slider-" + slider.axis).setAttribute("aria-valuetext", words);
    }
    return draw("front");
  }

  function select(key) {
    state.selected = key || null;
    const picker = document.getElementById("pick");
    picker.value = key || "";
    const box = document.getElementById("selected");
    box.replaceChildren();
    const shown = [key, front.reference].filter((one, i, all) => one && all.indexOf(one) === i);
    if (key) {
      const points = shown.map((one) => front.points.find((point) => point.key === one));
      const table = document.createElement("table");
      const add = (parent, tag, words, scope) => {
        const cell = document.createElement(tag);
        cell.textContent = words;
        if (scope) cell.scope = scope;
        parent.append(cell);
        return cell;
      };
      add(table, "caption", points[0].label).dir = "auto";
      const top = document.createElement("tr");
      add(top, "td", "");
      points.forEach((point) => add(top, "th", point.key === front.reference ? "Today" : "This protocol", "col"));
      const head = document.createElement("thead");
      head.append(top);
      table.append(head);
      const body = document.createElement("tbody");
      for (const [label, value] of points[0].facts) {
        const row = document.createElement("tr");
        add(row, "th", label, "row");
        add(row, "td", value);
        if (points[1]) add(row, "td", (points[1].facts.find((fact) => fact[0] === label) || ["", "–"])[1]);
        body.append(row);
      }
      table.append(body);
      box.append(table);
    }
    return update();
  }

  function start() {
    drawAll().then(() => {
      document.documentElement.dataset.ready = "yes";
      if (front) document.getElementById("plot-front").on("plotly_click", (event) => select(event.points[0].customdata[0]));
    });
    if (front) {
      document.querySelector(".controls").hidden = false;
      for (const slider of front.sliders) {
        const input = document.getElementById("slider-" + slider.axis);
        state.positions[slider.axis] = slider.start;
        input.value = slider.start;
        input.addEventListener("input", () => { state.positions[slider.axis] = Number(input.value); update(); });
      }
      document.getElementById("pick").addEventListener("change", (event) => select(event.target.value));
    }
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
    window.addEventListener("beforeprint", () => { paper = 640; drawAll(); });
    window.addEventListener("afterprint", () => { paper = 0; drawAll(); });
    const copy = document.getElementById("copy-methods");
    if (copy && navigator.clipboard) {
      copy.hidden = false;
      copy.addEventListener("click", () => navigator.clipboard.writeText(document.getElementById("methods-text").innerText)
        .then(() => text("copied", "Copied."), () => text("copied", "The browser refused; select the text instead.")));
    }
  }
  start();
})();
