"use strict";
// The leaderboard: one metric at a time, systems by tasks, with an interval in every cell.
(() => {
  const { h, t, number } = EChat;
  const order = { column: null, down: true };

  // The role of a floor or ceiling, and what ends a turn of a live system.
  EChat.tags = (system) => [
    system.role === "system" ? null : h("span", { class: "tag" }, t(system.role)),
    system.clock === "request" ? null : h("span", { class: "tag" }, t(`clock_${system.clock}`))];

  EChat.metricTitle = (metric) => `${metric.title}${metric.unit ? ` (${metric.unit})` : ""}`;
  EChat.metricChoice = (chosen, change) => h("select", { id: "metric", onchange: (e) => change(e.target.value) },
    EChat.board.metrics.map((m) => h("option", { value: m.name, selected: m.name === chosen },
      `${EChat.metricTitle(m)} ${m.higher ? "↑" : "↓"}`)));

  function cellOf(metric, system, task) {
    const bySystem = EChat.board.cells[metric.name];
    return bySystem && bySystem[system] ? bySystem[system][task] : undefined;
  }

  function scaleOf(metric, columns) {
    let low = 0, high = 0;
    for (const system of EChat.board.systems) for (const task of columns) {
      const cell = cellOf(metric, system.name, task);
      if (!cell || cell.value === null) continue;
      low = Math.min(low, cell.low === null ? cell.value : cell.low);
      high = Math.max(high, cell.high === null ? cell.value : cell.high);
    }
    const room = (high - low || 1) * 0.04;
    return { at: (x) => (100 * (x - low + room)) / (high - low + 2 * room) };
  }

  function whisker(cell, scale, role) {
    const shape = h("svg:svg", { class: `whisker ${role}`, viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
    shape.append(h("svg:line", { class: "zero", x1: scale.at(0), x2: scale.at(0), y1: 0, y2: 10 }));
    if (cell.low !== null) shape.append(h("svg:line", { class: "span", x1: scale.at(cell.low), x2: scale.at(cell.high), y1: 5, y2: 5 }));
    shape.append(h("svg:line", { class: "point", x1: scale.at(cell.value), x2: scale.at(cell.value), y1: 1.2, y2: 8.8 }));
    return shape;
  }

  function counts(cell) {
    const parts = [];
    if (cell.counts.failed) parts.push(`${cell.counts.failed} ${t("failedCount")}`);
    if (cell.counts.missing) parts.push(`${cell.counts.missing} ${t("missingCount")}`);
    return parts.length ? h("span", { class: "counts" }, parts.join(", ")) : null;
  }

  function valueCell(metric, system, task, scale) {
    const cell = cellOf(metric, system.name, task);
    const data = { class: "number", "data-task": task };
    if (!cell) return h("td", data, h("span", { class: "none" }, "–"));
    if (cell.value === null) return h("td", data, h("span", { class: "none" }, cell.counts.missing ? "?" : "–"), counts(cell));
    const query = new URLSearchParams({ system: system.name, metric: metric.name, order: "worst", task: task === EChat.board.overall ? "" : task });
    const range = cell.low === null ? h("span", { class: "range", title: t("noInterval") }, t("noIntervalShort"))
      : h("span", { class: "range" }, `${number(cell.low, metric.digits)} … ${number(cell.high, metric.digits)}`);
    const missing = cell.worst === null && cell.best === null ? null
      : h("span", { class: "counts" }, `${t("bounds")}: ${number(cell.worst, metric.digits)} … ${number(cell.best, metric.digits)}`);
    return h("td", data,
      h("a", { class: "value", href: EChat.link(["samples"], query), title: `n = ${cell.n}, ${cell.clusters} clusters` }, number(cell.value, metric.digits)),
      range, whisker(cell, scale, system.role), counts(cell), missing);
  }

  // The confidence set of a rank: "1", "1 to 3", "?" without a rank; empty for floors, ceilings and other metrics.
  function rankText(metric, system) {
    if (system.role !== "system" || !metric.headline) return "";
    const found = EChat.board.ranks[system.name];
    if (!found) return "?";
    return found[0] === found[1] ? String(found[0]) : t("rankSet", { low: found[0], high: found[1] });
  }

  function equivalence(metric) {
    const found = EChat.board.equivalent;
    if (!found || !metric.headline) return null;
    const margin = `±${found.margin}${metric.unit ? ` ${metric.unit}` : ""}`;
    const pairs = found.pairs.map((pair) => t("pair", { first: pair[0], second: pair[1] })).join(t("semicolon"));
    return h("p", { class: "quiet" }, pairs ? t("within", { margin, pairs }) : t("noneWithin", { margin }));
  }

  // How missing rows of a metric without an upper end count.
  function capNote(metric) {
    const { factor, most } = EChat.board.caps;
    if (!(metric.name in most)) return null;
    return h("p", { class: "quiet" }, t("capNote", { factor, most: number(most[metric.name], metric.digits) }));
  }

  function sorted(systems, metric) {
    const column = order.column || EChat.board.overall;
    const sign = (metric.higher ? -1 : 1) * (order.down ? 1 : -1);
    const place = (system) => {
      const cell = cellOf(metric, system.name, column);
      return cell && cell.value !== null ? sign * cell.value : Infinity;
    };
    if (order.column === "name") return [...systems].sort((a, b) => (order.down ? 1 : -1) * a.name.localeCompare(b.name));
    return [...systems].sort((a, b) => {
      const x = place(a), y = place(b);
      return x === y ? a.name.localeCompare(b.name) : x < y ? -1 : 1;
    });
  }

  function heading(name, title, redraw, extra) {
    const active = (order.column || EChat.board.overall) === name;
    const flip = () => {
      order.down = active ? !order.down : true;
      order.column = name;
      redraw();
      const again = document.querySelector(`th[data-column="${CSS.escape(name)}"] button`);
      if (again) again.focus();
    };
    return h("th", { scope: "col", class: extra, "data-column": name, "aria-sort": active ? (order.down ? "descending" : "ascending") : "none" },
      h("button", { type: "button", onclick: flip, title: t("sortBy", { name: title }) }, title, h("span", { class: "arrow", "aria-hidden": "true" }, active ? (order.down ? "▾" : "▴") : "")));
  }

  function table(metric, redraw) {
    const board = EChat.board;
    const whole = metric.tasks_only ? [] : [board.overall];
    const columns = [...whole, ...board.tasks.map((task) => task.name)];
    const scale = scaleOf(metric, columns);
    const head = h("tr", {}, h("th", { scope: "col", class: "rank" }, t("rank")), heading("name", t("system"), redraw, "name"),
      whole.map((column) => heading(column, t("all"), redraw, "number")), board.tasks.map((task) => heading(task.name, EChat.taskTitle(task), redraw, "number")));
    const row = (system) => h("tr", { "data-system": system.name },
      h("td", { class: "rank" }, rankText(metric, system)),
      h("th", { scope: "row", class: "name" }, h("span", { class: "system" }, system.name), EChat.tags(system),
        board.earlier[system.name] ? h("span", { class: "tag" }, t("earlierReplies", { n: board.earlier[system.name] })) : null),
      columns.map((task) => valueCell(metric, system, task, scale)));
    const real = board.systems.filter((s) => s.role === "system");
    const frame = board.systems.filter((s) => s.role !== "system");
    return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("leaderboard") },
      h("table", { class: "leaderboard" }, h("thead", {}, head), h("tbody", {}, sorted(real, metric).map(row)),
        frame.length ? h("tbody", { class: "frame" }, h("tr", { class: "divider" }, h("td", { colspan: columns.length + 2 }, t("floors"))), sorted(frame, metric).map(row)) : null));
  }

  function columnName(column) {
    return typeof column === "string" ? column : [column.task, column.metric, column.test_set].filter(Boolean).join(", ");
  }

  // What systems can name when asked, minus what they act on; the cells are texts.
  function gaps() {
    const { gaps, gap_notes: notes } = EChat.board;
    if (!gaps.length) return null;
    const titles = ["system", "cue", "matchedBy", "count", "asked", "matched", "gap", "normalised"].map((name) => t(name));
    const kind = (column) => (column === 0 ? "name" : column < 3 ? "" : "number");
    return [h("h2", {}, t("listeningGap")),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("listeningGap") }, h("table", { class: "leaderboard gaps" },
        h("thead", {}, h("tr", {}, titles.map((title, n) => h("th", { scope: "col", class: kind(n) }, title)))),
        h("tbody", {}, gaps.map((cells) => h("tr", {}, cells.map((text, n) => h(n ? "td" : "th", { class: kind(n), scope: n ? null : "row" }, text))))))),
      notes.map((note) => h("p", { class: "quiet" }, note))];
  }

  // Times to the first audio: one table per clock, because what ends the user's turn decides what a time means.
  function times() {
    const titles = ["system", "turnNumbers", "pace", "count", "firstAudioTime", "firstAudibleTime", "roundTrip", "breaks"].map((name) => t(name));
    const kind = (column) => (column === 0 ? "name" : column < 3 ? "" : "number");
    return EChat.board.times.map(({ clock, rows, notes }) => [h("h2", {}, t(`times_${clock}`)),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t(`times_${clock}`) }, h("table", { class: "leaderboard gaps", "data-clock": clock },
        h("thead", {}, h("tr", {}, titles.map((title, n) => h("th", { scope: "col", class: kind(n) }, title)))),
        h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((text, n) => h(n ? "td" : "th", { class: kind(n), scope: n ? null : "row" }, text))))))),
      notes.map((note) => h("p", { class: "quiet" }, note))]);
  }

  function published() {
    return EChat.board.published.map((source) => h("details", { class: "published" },
      h("summary", {}, `${t("published")}: ${source.title}`),
      h("p", { class: "quiet" }, t("publishedNote")), h("p", { class: "quiet" }, source.source),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": source.title }, h("table", { class: "leaderboard" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "name" }, t("system")), source.columns.map((c) => h("th", { scope: "col", class: "number" }, columnName(c))))),
        h("tbody", {}, source.rows.map((row) => h("tr", {}, h("th", { scope: "row", class: "name" }, `${row.system} †`),
          row.values.map((value) => h("td", { class: "number" }, value === null ? "–" : String(value))))))))));
  }

  function licences() {
    const stated = EChat.board.tasks.filter((task) => task.licence);
    return stated.length === 0 ? null : h("details", { class: "licences" }, h("summary", {}, t("licences")),
      h("ul", {}, stated.map((task) => h("li", {}, `${EChat.taskTitle(task)}: `,
        [task.licence, task.voices, task.citation, task.audible ? null : t("notAudible")].filter(Boolean).join("; ")))));
  }

  EChat.showLeaderboard = (main, where) => {
    const board = EChat.board;
    const chosen = where.query.get("metric");
    const metric = board.metrics.find((m) => m.name === chosen) || board.metrics[0];
    const facts = t("facts", { systems: board.systems.length, samples: board.total });
    const redraw = () => EChat.showLeaderboard(main, where);
    main.replaceChildren(h("div", { class: "page" },
      h("h1", {}, t("leaderboard")), h("p", { class: "facts" }, facts),
      board.total ? null : h("p", { class: "notice" }, t("noSamples")),
      !metric ? h("p", { class: "notice" }, t("nothingScored")) : [
        h("div", { class: "bar" }, h("label", { for: "metric" }, t("metric")),
          EChat.metricChoice(metric.name, (name) => EChat.go(EChat.link([], new URLSearchParams({ metric: name })))),
          h("span", { class: "quiet" }, metric.higher ? t("higher") : t("lower")),
          metric.proxy ? h("span", { class: "tag warn" }, t("proxy")) : null),
        table(metric, redraw),
        h("p", { class: "quiet" }, `${t("interval")}. ${t("legend")}`),
        metric.headline && Object.keys(board.ranks).length > 1 ? h("p", { class: "quiet" }, t("rankNote")) : null,
        metric.tasks_only ? h("p", { class: "quiet" }, t("tasksOnly")) : null,
        board.people[metric.name].map((line) => h("p", { class: "quiet people" }, line)),
        board.shares[metric.name].map((line) => h("p", { class: "quiet" }, line)),
        capNote(metric), equivalence(metric),
        metric.headline ? board.notes.map((note) => h("p", { class: "quiet" }, note)) : null],
      gaps(), times(), licences(), published()));
    return t("leaderboard");
  };
})();
