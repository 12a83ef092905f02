"use strict";
// The frontier: drawn anew for every width, axis and filter. All text goes in as text, never as markup.
(() => {
  const page = JSON.parse(document.getElementById("page-data").textContent);
  const models = page.models;
  const plot = document.getElementById("frontier");
  const controls = document.getElementById("controls");
  const detail = document.getElementById("detail");
  const meets = document.getElementById("meets");
  const LONGEST = 26;
  const AXES = {
    p50: { title: "median latency of one text, ms", name: "latency", of: (m) => m.p50, more: false },
    bytes: { title: "files that loading opens, MB", name: "size", of: (m) => m.bytes && m.bytes / 1e6, more: false },
    per_s: { title: "texts a second, list call", name: "throughput", of: (m) => m.per_s, more: true },
  };
  const state = {
    x: "p50", log: true, keep: page.wanted.keep, most: page.wanted.ms, chosen: page.best,
    off: { precision: new Set(), engine: new Set() },
  };

  const el = (tag, attributes, parent, text) => {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  };
  const svg = (tag, attributes, parent, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    if (parent) parent.append(node);
    return node;
  };
  const short = (name) => (name.length <= LONGEST ? name : name.slice(0, LONGEST - 1) + "…");
  const share = (value) => (100 * value).toFixed(1) + "%";
  const digits = (value) => Number(value.toPrecision(3)).toString();

  // ---- controls ----------------------------------------------------------------------------------------------------

  function chips(key, title) {
    const values = [...new Set(models.map((m) => m[key]))];
    if (values.length < 2) return;
    const group = el("fieldset", {}, controls);
    el("legend", {}, group, title);
    for (const value of values) {
      const label = el("label", { class: "chip tone-" + (key === "precision" ? models.find((m) => m[key] === value).tone : "grey") }, group);
      const input = el("input", { type: "checkbox", checked: "" }, label);
      if (key === "precision") el("span", { class: "dot" }, label);
      else el("span", {}, label, glyph(value));
      el("span", {}, label, value);
      input.addEventListener("change", () => {
        state.off[key][input.checked ? "delete" : "add"](value);
        draw();
      });
    }
  }

  function fields() {
    const axis = el("label", {}, controls, "across ");
    const select = el("select", { id: "axis" }, axis);
    for (const [key, one] of Object.entries(AXES)) {
      if (models.some((m) => one.of(m))) el("option", { value: key }, select, one.name);
    }
    select.addEventListener("change", () => { state.x = select.value; draw(); });
    const scale = el("label", { class: "chip" }, controls);
    const box = el("input", { type: "checkbox", checked: "", id: "log" }, scale);
    el("span", { class: "dot" }, scale);
    el("span", {}, scale, "logarithmic");
    box.addEventListener("change", () => { state.log = box.checked; draw(); });
    const target = el("fieldset", {}, controls);
    el("legend", {}, target, "target");
    if (page.teacher !== null) number(target, "keep", " % of the teacher", { min: 0, max: 110, step: 0.5 });
    number(target, "most", " ms at most", { min: 0, step: "any", placeholder: "any" });
  }

  function number(parent, key, words, attributes) {
    const label = el("label", {}, parent);
    const input = el("input", { type: "number", id: "target-" + key, ...attributes }, label);
    if (state[key] !== null) input.value = state[key];
    label.append(words);
    input.addEventListener("input", () => { state[key] = input.value === "" ? null : Number(input.value); draw(); });
  }

  const GLYPHS = { onnxruntime: "●", torch: "◆", openvino: "▲" };
  const glyph = (engine) => GLYPHS[engine] || "■";

  function shape(engine, r) {
    if (engine === "onnxruntime") return `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`;
    if (engine === "torch") return `M0 ${-1.25 * r}L${1.25 * r} 0L0 ${1.25 * r}L${-1.25 * r} 0Z`;
    if (engine === "openvino") return `M0 ${-1.2 * r}L${1.15 * r} ${0.9 * r}L${-1.15 * r} ${0.9 * r}Z`;
    return `M${-r} ${-r}H${r}V${r}H${-r}Z`;
  }

  // ---- what is seen ------------------------------------------------------------------------------------------------

  const shown = (m) => !state.off.precision.has(m.precision) && !state.off.engine.has(m.engine);
  const meetsTarget = (m) =>
    (state.keep === null || (m.retained !== null && 100 * m.retained >= state.keep)) && (state.most === null || m.p50 <= state.most);

  function frontierOf(rows, axis) {
    // Better in x first; of those, whatever is more accurate than all before.
    const sorted = [...rows].sort((a, b) => (axis.more ? axis.of(b) - axis.of(a) : axis.of(a) - axis.of(b)) || b.score - a.score);
    let best = -Infinity;
    return sorted.filter((m) => m.score > best && ((best = m.score), true));
  }

  function scaleX(values, width) {
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (state.log) {
      const margin = Math.max(1.35, (high / low) ** 0.1);
      [low, high] = [low / margin, high * margin];
      const span = Math.log(high / low);
      const steps = span / Math.LN10 < (width < 500 ? 1.6 : 2.6) ? [1, 2, 5] : [1];
      const within = (digits) => {
        const ticks = [];
        for (let power = -6; power < 10; power++) for (const digit of digits) ticks.push(digit * 10 ** power);
        return ticks.filter((t) => t >= low && t <= high);
      };
      const coarse = within(steps);
      const ticks = coarse.length > 1 ? coarse : within([1, 1.2, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9]);
      return { of: (v) => (Math.log(v / low) / span) * width, ticks };
    }
    high *= 1.08;
    return { of: (v) => (v / high) * width, ticks: nice(0, high, width < 500 ? 4 : 8) };
  }

  function nice(low, high, count) {
    const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 2.5, 5, 10].map((d) => d * power).find((s) => s >= rough);
    const ticks = [];
    for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) ticks.push(t);
    return ticks;
  }

  // ---- drawing -----------------------------------------------------------------------------------------------------

  function draw() {
    const active = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.index : undefined;
    plot.replaceChildren();
    const axis = AXES[state.x];
    const rows = models.filter((m) => shown(m) && axis.of(m) && m.score !== null);
    say(rows);
    document.querySelectorAll("[data-model]").forEach((node) => (node.hidden = !shown(models[node.dataset.model])));
    const width = Math.max(280, plot.clientWidth), height = width < 560 ? 380 : 470;
    const pad = { left: 46, right: 12, top: 22, bottom: 44 };
    const w = width - pad.left - pad.right, h = height - pad.top - pad.bottom;
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": page.description }, plot);
    if (!rows.length) {
      svg("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, root, "No model is selected.");
      return;
    }
    const area = svg("g", { transform: `translate(${pad.left} ${pad.top})` }, root);
    // A floor far below all others is named at the bottom edge: in the picture it would flatten the rest.
    const others = rows.filter((m) => m.role !== "floor");
    const least = Math.min(...others.map((m) => m.score));
    const below = rows.filter((m) => m.role === "floor" && others.length && m.score < least - 0.04);
    const inside = rows.filter((m) => !below.includes(m));
    const x = scaleX(rows.map(axis.of), w);
    const ends = inside.flatMap((m) => m.ci);
    const margin = 0.1 * (Math.max(...ends) - Math.min(...ends)) + 0.002;
    const [bottom, top] = [Math.max(0, Math.min(...ends) - margin), Math.min(1.02, Math.max(...ends) + margin)];
    const y = (v) => (h * (top - v)) / (top - bottom);

    frame(area, axis, x, y, w, h, bottom, top);
    const taken = target(area, x, y, w, h, bottom, top);
    const front = frontierOf(inside, axis);
    const lines = steps(area, front, axis, x, y);
    const spots = inside.map((m) => ({ m, x: x.of(axis.of(m)), y: y(m.score) }));
    for (const spot of spots) point(area, spot, front.includes(spot.m), y);
    for (const m of below) under(area, m, x.of(axis.of(m)), w, h, taken);
    for (const { m, x: at } of spots) lines.push([at - 2, y(m.ci[1]), at + 2, y(m.ci[0])]);
    names(area, spots, front, { taken, lines }, w, h);
    if (active !== undefined) plot.querySelector(`[data-index="${active}"]`)?.focus();
  }

  function frame(area, axis, x, y, w, h, bottom, top) {
    for (const t of nice(bottom, top, 6)) {
      svg("line", { class: "grid", x1: 0, x2: w, y1: y(t), y2: y(t) }, area);
      svg("text", { x: -8, y: y(t) + 4, "text-anchor": "end" }, area, Number((100 * t).toFixed(1)) + "%");
    }
    for (const t of x.ticks) {
      svg("line", { class: "grid", x1: x.of(t), x2: x.of(t), y1: 0, y2: h }, area);
      svg("text", { x: x.of(t), y: h + 17, "text-anchor": "middle" }, area, digits(t));
    }
    svg("line", { class: "edge", x1: 0, x2: w, y1: h, y2: h }, area);
    svg("text", { x: w, y: h + 36, "text-anchor": "end" }, area, axis.title);
    svg("text", { x: -8, y: -9, "text-anchor": "start" }, area, "accuracy");
  }

  function target(area, x, y, w, h, bottom, top) {
    const taken = [];
    const say = (words, at, className) => {
      svg("text", { x: w - 3, y: at - 6, "text-anchor": "end", class: className }, area, words);
      taken.push([w - 6.4 * words.length, at - 18, w, at]);
    };
    const teacher = page.teacher === null ? null : models[page.teacher].score;
    const floor = teacher !== null && state.keep !== null ? (teacher * state.keep) / 100 : null;
    const right = state.x === "p50" && state.most > 0 ? Math.max(0, Math.min(w, x.of(state.most))) : null;
    if (floor !== null && floor < top && (right !== null || floor > bottom)) {
      const at = Math.min(h, Math.max(0, y(floor)));
      svg("rect", { class: "zone", x: 0, y: 0, width: right === null ? w : right, height: at }, area);
    }
    if (teacher !== null && teacher < top && teacher > bottom) {
      svg("line", { class: "share", x1: 0, x2: w, y1: y(teacher), y2: y(teacher) }, area);
      say("teacher", y(teacher), "share-name");
    }
    if (floor !== null && floor < top && floor > bottom && Math.abs(y(floor) - y(teacher)) > 1) {
      svg("line", { class: "target", x1: 0, x2: w, y1: y(floor), y2: y(floor) }, area);
      if (Math.abs(y(floor) - y(teacher)) > 14) say(`${state.keep}% of it`, y(floor), "target-name");
    }
    if (right !== null) svg("line", { class: "target", x1: right, x2: right, y1: 0, y2: h }, area);
    return taken;
  }

  function steps(area, front, axis, x, y) {
    const line = axis.more ? [...front].reverse() : front;
    const at = line.map((m) => [x.of(axis.of(m)), y(m.score)]), boxes = [];
    let path = "";
    at.forEach(([px, py], i) => {
      path += i === 0 ? `M${px} ${py}` : axis.more ? `V${py}H${px}` : `H${px}V${py}`;
      if (i === 0) return;
      const [fx, fy] = at[i - 1], level = axis.more ? py : fy, upright = axis.more ? fx : px;
      boxes.push([fx, level - 2, px, level + 2], [upright - 2, Math.min(fy, py), upright + 2, Math.max(fy, py)]);
    });
    svg("path", { class: "steps", d: path }, area);
    return boxes;
  }

  function point(area, spot, isFront, y) {
    const m = spot.m, index = models.indexOf(m);
    const words = `${m.name}: ${share(m.score)} (${share(m.ci[0])} to ${share(m.ci[1])}) at ${digits(m.p50)} ms`;
    const classes = `point tone-${m.tone}${isFront ? " front" : ""}${index === state.chosen ? " chosen" : ""}`;
    const group = svg("g", { class: classes, tabindex: 0, role: "button", "aria-label": words, "data-index": index, transform: `translate(${spot.x} ${spot.y})` }, area);
    svg("line", { class: "bar", y1: y(m.ci[0]) - spot.y, y2: y(m.ci[1]) - spot.y }, group);
    svg("path", { class: "shape", d: shape(m.engine, 5.5) }, group);
    svg("circle", { class: "touch", r: 15 }, group);
    const choose = () => { state.chosen = index; draw(); };
    group.addEventListener("click", choose);
    group.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(); } });
    for (const event of ["pointerenter", "focus"]) group.addEventListener(event, () => tip(m, group));
    for (const event of ["pointerleave", "blur"]) group.addEventListener(event, () => plot.querySelector(".tip")?.remove());
  }

  function under(area, m, px, w, h, taken) {
    const words = `${short(m.name)}: ${share(m.score)} ↓`, left = px > w / 2;
    svg("text", { x: px, y: h - 7, "text-anchor": left ? "end" : "start" }, area, words);
    taken.push(left ? [px - 6.4 * words.length, h - 20, px, h] : [px, h - 20, px + 6.4 * words.length, h]);
  }

  // Names look for a free place around their point, those of the frontier first; where there is none, hovering tells.
  // Across a line is better than not at all.
  function names(area, spots, front, { taken, lines }, w, h) {
    const font = w < 500 ? 10.5 : 12, ordered = [...spots].sort((a, b) => front.includes(b.m) - front.includes(a.m) || a.x - b.x);
    const busy = [...taken, ...spots.map((s) => [s.x - 8, s.y - 8, s.x + 8, s.y + 8])];
    const apart = (b, others) => !others.some((o) => b[0] < o[2] && o[0] < b[2] && b[1] < o[3] && o[1] < b[3]);
    const free = (b) => b[0] >= 0 && b[1] >= -8 && b[2] <= w + 6 && b[3] <= h && apart(b, busy);
    for (const spot of ordered) {
      const words = short(spot.m.name), long = 0.56 * font * words.length, tall = font * 1.25;
      const found = [...places(tall)].map(([dx, dy, anchor]) => {
        const x0 = spot.x + dx - (anchor === "start" ? 0 : anchor === "end" ? long : long / 2), y0 = spot.y + dy - tall / 2;
        return { dx, dy, anchor, box: [x0, y0, x0 + long, y0 + tall] };
      }).filter((place) => free(place.box));
      const place = found.find((one) => Math.abs(one.dy) < 45 && apart(one.box, lines)) || found[0];
      if (!place) continue;
      const { dx, dy, anchor } = place;
      busy.push(place.box);
      if (Math.abs(dy) > 20) svg("line", { class: "leader", x1: spot.x, y1: spot.y, x2: spot.x + dx, y2: spot.y + dy }, area);
      svg("text", { class: "name", x: spot.x + dx, y: spot.y + dy + font * 0.35, "text-anchor": anchor, "font-size": font, "pointer-events": "none" }, area, words);
    }
  }

  function* places(tall) {
    for (let step = 0; step < 6; step++) {
      const far = step * (tall + 3);
      for (const dy of step ? [-far, far] : [0]) {
        yield [11, dy, "start"];
        yield [-11, dy, "end"];
      }
      yield [0, -14 - far, "middle"];
      yield [0, 15 + far, "middle"];
    }
  }

  function tip(m, group) {
    plot.querySelector(".tip")?.remove();
    const box = el("div", { class: "tip", role: "status" }, plot);
    el("strong", {}, box, m.name);
    el("div", {}, box, `${share(m.score)} accuracy (${share(m.ci[0])} to ${share(m.ci[1])})`);
    el("div", {}, box, `${digits(m.p50)} ms, 99% within ${digits(m.p99)} ms${m.bytes ? `, ${digits(m.bytes / 1e6)} MB` : ""}`);
    if (m.int8) el("div", {}, box, `${digits(m.int8)} times plain int8's speed`);
    const at = group.getBoundingClientRect(), of = plot.getBoundingClientRect();
    const left = Math.min(Math.max(0, at.left - of.left + 16), of.width - box.offsetWidth);
    const above = at.top - of.top - box.offsetHeight - 6;
    box.style.left = `${left}px`;
    box.style.top = `${above > 0 ? above : at.bottom - of.top + 6}px`;
  }

  // ---- words -------------------------------------------------------------------------------------------------------

  function say(rows) {
    const asked = [];
    if (state.keep !== null && page.teacher !== null) asked.push(`keeps ${state.keep}% of the teacher`);
    if (state.most !== null) asked.push(`answers in ${state.most} ms`);
    const fit = rows.filter(meetsTarget).sort((a, b) => a.p50 - b.p50)[0];
    if (!asked.length) meets.textContent = "";
    else if (fit) meets.textContent = `The fastest that ${asked.join(" and ")}: ${fit.name}, ${digits(fit.p50)} ms.`;
    else meets.textContent = `None of these ${asked.join(" and ")}.`;
    describe(models[state.chosen]);
  }

  function describe(m) {
    detail.replaceChildren();
    if (!m) return;
    el("h3", {}, detail, m.name);
    const list = el("dl", { class: "figures" }, detail);
    for (const [term, value] of m.figures) {
      const pair = el("div", {}, list);
      el("dt", {}, pair, term);
      el("dd", {}, pair, value);
    }
    if (m.made.length) {
      el("p", { class: "note" }, detail, m.made_note);
      el("pre", {}, detail, m.made.join("\n"));
    }
    el("p", { class: "note" }, detail, "Measured with").style.marginTop = "10px";
    el("pre", {}, detail, page.command);
  }

  chips("precision", "precision");
  chips("engine", "engine");
  fields();
  draw();
  let known = plot.clientWidth;
  new ResizeObserver(() => { if (plot.clientWidth !== known) { known = plot.clientWidth; draw(); } }).observe(plot);
})();
