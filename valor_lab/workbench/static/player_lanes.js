// The lanes: per event audio, visual, audio-visual, in each the labelings in their order; and which labelings are lanes at all.
const STATUS = { r: "right", f: "false", m: "missed", o: "on", x: "absent" };
const SAY = { r: "right", f: "false alarm", m: "missed", o: "on", x: "nothing to hear or see" };

// "rr..f" -> [{ from: 0, to: 2, kind: "r" }, { from: 4, to: 5, kind: "f" }]
function intervals(cells) {
  const out = [];
  for (let i = 0; i < cells.length; i++) {
    if (cells[i] === ".") continue;
    const last = out.at(-1);
    if (last && last.to === i && last.kind === cells[i]) last.to = i + 1; else out.push({ from: i, to: i + 1, kind: cells[i] });
  }
  return out;
}

function lanesOf(p) {
  const { model, get, events } = p;

  function bars(cells) {
    const n = cells.length;
    return intervals(cells).map(({ from, to, kind }) => h("i", { class: "vl-" + STATUS[kind], style: `--a:${from / n};--b:${to / n}` }));
  }
  function spoken(lane) {
    const t = x => +(x * p.segment()).toFixed(2);
    const list = intervals(lane.cells).map(i => `${t(i.from)} to ${t(i.to)} s ${SAY[i.kind]}`).join(", ");
    return `${lane.event}, ${NAMES[lane.modality]}, ${lane.name}: ${list || "nothing"}`;
  }
  function laneRow(lane) {
    const cls = "vl-track vl-lane" + (lane.kind === "weak" ? " vl-weak" : "") + (lane.editable ? " vl-edit" : ""), words = spoken(lane);
    const track = h("div", { class: cls, role: lane.editable ? "button" : "img", tabindex: lane.editable ? 0 : null, "aria-label": words,
      title: words, "data-event": lane.event, "data-modality": lane.modality, "data-name": lane.name, "data-cells": lane.cells },
      ...bars(lane.cells));
    if (lane.editable) p.editable(track, lane);
    const name = lane.short || lane.name, number = lane.editable && lane.number < 10 ? h("kbd", { text: lane.number }) : null;
    const rows = [h("div", { class: "vl-row" }, h("span", { title: lane.name }, name, number), track)];
    if (lane.heat) rows.push(h("div", { class: "vl-row" }, h("span", { text: "score" }), heat(lane)));
    return rows;
  }
  function heat(lane) {
    const { scores, threshold, low, high } = lane.heat, n = scores.length, level = s => clamp((s - low) / (high - low || 1), 0, 1);
    const listed = scores.map(s => s === null ? "none" : s.toFixed(1)).join(", ");
    const text = `scores ${listed}${threshold === null ? "" : `; threshold ${threshold.toFixed(2)}`}`;
    const bar = (s, i) => h("i", { style:
      `--a:${i / n};--b:${(i + 1) / n};height:${100 * Math.max(.08, level(s))}%;opacity:${(.18 + .82 * level(s)).toFixed(3)}` });
    return h("div", { class: "vl-track vl-heat", role: "img", "aria-label": `${lane.event}, ${NAMES[lane.modality]}, ${text}`, title: text,
      "data-threshold": threshold }, ...scores.map((s, i) => s === null ? null : bar(s, i)),
      threshold === null ? null : h("u", { style: `bottom:${100 * level(threshold)}%` }));
  }
  function groups() {                                    // event -> modality -> lanes
    const out = new Map();
    for (const lane of get("lanes")) {
      if (!out.has(lane.event)) out.set(lane.event, new Map());
      const g = out.get(lane.event);
      if (!g.has(lane.modality)) g.set(lane.modality, []);
      g.get(lane.modality).push(lane);
    }
    return out;
  }
  let late = false;
  p.drawLanes = () => { if (late) draw(); };
  function draw() {
    if ((late = Boolean(p.drawing))) return;             // a stroke is being drawn
    const held = document.activeElement?.closest?.(".vl-edit"), all = groups(), others = get("others");
    const kept = held && p.root.contains(held) ? [held.dataset.event, held.dataset.modality] : null;
    const group = ([m, lanes]) => h("div", { class: "vl-group", "data-hue": m }, h("div", { class: "vl-hue", text: NAMES[m] || "" }),
      h("div", {}, ...lanes.flatMap(laneRow)));
    const picked = event => event === get("highlight") ? "vl-picked" : "";
    const block = ([event, g]) => h("div", { "data-event": event, class: picked(event) },
      h("div", { class: "vl-event", text: event }), ...[...g].map(group));
    events.replaceChildren(...[...all].map(block));
    if (!all.size) events.append(h("p", { class: "vl-quiet", text: "No event occurs in this clip in any of the labelings." }));
    if (kept) events.querySelector(`.vl-edit[data-event="${CSS.escape(kept[0])}"][data-modality="${kept[1]}"]`)?.focus();
    const what = others.length === 1 ? "show the other event" : `show one of ${others.length} other events`;
    fillSelect(p.others, [["", what], ...others.map(e => [e, e])], "");
    p.others.hidden = !others.length;
    p.heats.hidden = !get("lanes").some(l => l.heat);
    p.absent.hidden = !get("lanes").some(l => l.cells.includes("x"));
  }
  function drawChoices() {
    const all = get("choices"), held = p.choices.contains(document.activeElement) ? document.activeElement.dataset.name : null;
    const turned = name => all.filter(([n, shown]) => n === name ? !shown : shown).map(x => x[0]);
    const button = ([name, shown, short]) => h("button", { text: short, title: name, "aria-label": `lane ${name}`, "data-name": name,
      "aria-pressed": shown, onclick: () => model.send({ do: "lanes", names: turned(name) }) });
    p.choices.hidden = !all.length;
    p.choices.replaceChildren(h("span", { class: "vl-quiet", text: "lanes" }), ...all.map(button));
    if (held) p.choices.querySelector(`[data-name="${CSS.escape(held)}"]`)?.focus();
  }
  p.borders = () => {                                    // seconds at which an event begins or ends in some labeling
    const s = new Set([0, p.clip().n_segments]);
    for (const l of get("lanes")) {
      if (l.kind !== "weak") for (const i of intervals(l.cells)) if (i.kind !== "m") s.add(i.from).add(i.to);
    }
    return [...s].sort((a, b) => a - b).map(x => x * p.segment());
  };
  const pick = () => { for (const d of events.children) d.classList.toggle("vl-picked", d.dataset.event === get("highlight")); };
  p.listen.push(["change:lanes", draw], ["change:others", draw], ["change:choices", drawChoices], ["change:highlight", pick]);
  p.begin.push(draw, drawChoices);
}
