"use strict";
// Two metrics against each other: one point per system, a cross of both 95 % intervals.
(() => {
  const { h, t, number } = EChat;
  const WIDTH = 640, HEIGHT = 400, LEFT = 64, RIGHT = 20, TOP = 20, BOTTOM = 52, LINE = 15;

  // Round steps: 1, 2 or 5 times a power of ten.
  function ticks(low, high) {
    const rough = (high - low) / 6;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
    const found = [];
    for (let n = Math.ceil(low / step); n * step <= high + step * 1e-9; n += 1) found.push(n * step);
    return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
  }

  function axisOf(points, side, from, to) {
    const ends = points.flatMap((p) => [p[side].low ?? p[side].value, p[side].high ?? p[side].value]);
    let low = Math.min(...ends), high = Math.max(...ends);
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    low -= room;
    high += room;
    return { at: (value) => from + ((value - low) / (high - low)) * (to - from), ...ticks(low, high) };
  }

  const line = (kind, x1, y1, x2, y2) => h("svg:line", { class: kind, x1, y1, x2, y2 });
  const word = (text, attributes) => h("svg:text", attributes, text);
  const shorten = (name) => (name.length > 28 ? `${name.slice(0, 14)}…${name.slice(-12)}` : name);

  // Labels stand right or left of their points, and move down where one stands already.
  function labels(points) {
    const taken = [];
    return [...points].sort((p, q) => p.y - q.y).map((point) => {
      const text = shorten(point.system.name);
      const size = 7.2 * [...text].reduce((sum, c) => sum + (c > "\u2e80" ? 1.8 : 1), 0);
      const left = point.x + 10 + size > WIDTH - RIGHT;
      const x = left ? point.x - 9 : point.x + 9;
      const [from, to] = left ? [x - size, x] : [x, x + size];
      let y = point.y - 7;
      while (taken.some((box) => Math.abs(box.y - y) < LINE && box.from < to && from < box.to)) y += LINE / 3;
      taken.push({ y, from, to });
      return word(text, { class: "label", x, y, "text-anchor": left ? "end" : "start" });
    });
  }

  EChat.scatter = (first, second, column, cellOf) => {
    const board = EChat.board;
    const shared = [board.overall, ...board.tasks.map((task) => task.name)].filter((task) =>
      board.systems.some((s) => [first, second].every((m) => cellOf(m, s.name, task)?.value != null)));
    if (!shared.length) return h("p", { class: "quiet" }, t("noPair"));
    const task = shared.includes(column) ? column : shared[0];
    const points = board.systems.map((system) => ({ system, first: cellOf(first, system.name, task), second: cellOf(second, system.name, task) }))
      .filter((p) => p.first?.value != null && p.second?.value != null);
    const across = axisOf(points, "first", LEFT, WIDTH - RIGHT);
    const up = axisOf(points, "second", HEIGHT - BOTTOM, TOP);
    for (const p of points) { p.x = across.at(p.first.value); p.y = up.at(p.second.value); }
    const where = task === board.overall ? t("all") : EChat.taskTitle(board.tasks.find((entry) => entry.name === task));
    const title = t("scatter", { first: EChat.metricName(first), second: EChat.metricName(second), where });
    const axis = (metric) => `${EChat.metricTitle(metric)} ${metric.higher ? "↑" : "↓"}`;
    const shape = h("svg:svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title },
      across.found.map((v) => [line("grid", across.at(v), TOP, across.at(v), HEIGHT - BOTTOM), word(number(v, across.digits), { class: "tick", x: across.at(v), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" })]),
      up.found.map((v) => [line("grid", LEFT, up.at(v), WIDTH - RIGHT, up.at(v)), word(number(v, up.digits), { class: "tick", x: LEFT - 8, y: up.at(v) + 4, "text-anchor": "end" })]),
      word(axis(first), { class: "axis is-a", x: (LEFT + WIDTH - RIGHT) / 2, y: HEIGHT - 10, "text-anchor": "middle" }),
      word(axis(second), { class: "axis is-b", x: -(TOP + HEIGHT - BOTTOM) / 2, y: 16, "text-anchor": "middle", transform: "rotate(-90)" }),
      points.map((p) => h("svg:g", { class: `mark ${p.system.role}`, "data-system": p.system.name },
        p.first.low === null ? null : line("span", across.at(p.first.low), p.y, across.at(p.first.high), p.y),
        p.second.low === null ? null : line("span", p.x, up.at(p.second.low), p.x, up.at(p.second.high)),
        h("svg:circle", { cx: p.x, cy: p.y, r: 4.5 }))),
      labels(points));
    return h("figure", { class: "scatter" }, h("figcaption", {}, title), shape, h("p", { class: "quiet" }, t("scatterNote")));
  };
})();
