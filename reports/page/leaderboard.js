"use strict";
// The leaderboard: one metric at a time, systems by tasks, with an interval in every cell.
(() => {
  const { h, t, number } = EChat;
  const order = { column: null, down: true };

  // The role of a floor or ceiling, and what ends a turn of a live system.
  EChat.tags = (system) => [
    system.role === "system" ? null : h("span", { class: "tag" }, t(system.role)),
    system.clock === "request" ? null : h("span", { class: "tag" }, t(`clock_${system.clock}`))];

  // One of the two metrics; the second may be absent.
  function choice(id, chosen, metrics, change) {
    const options = [...(id === "second" ? [["none", t("none")]] : []), ...metrics.map((m) => [m.name, EChat.metricTitle(m)])];
    return [h("label", { for: id }, t(id)), h("select", { id, onchange: (e) => change(id, e.target.value) },
      options.map(([name, title]) => h("option", { value: name, selected: name === chosen }, title)))];
  }

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

  // A value with its interval, as a link to the samples behind it.
  function measured(metric, system, task, scale, side) {
    const cell = cellOf(metric, system.name, task);
    if (!cell) return h("span", { class: "none" }, "–");
    if (cell.value === null) return [h("span", { class: "none" }, cell.counts.missing ? "?" : "–"), counts(cell)];
    const query = new URLSearchParams({ system: system.name, metric: metric.name, order: "worst", task: task === EChat.board.overall ? "" : task });
    const range = cell.no_interval ? h("span", { class: "range", title: t(`${cell.no_interval}, why`) }, t(cell.no_interval))
      : h("span", { class: "range" }, `${number(cell.low, metric.digits)} … ${number(cell.high, metric.digits)}`);
    const missing = cell.worst === null && cell.best === null ? null
      : h("span", { class: "counts" }, `${t("bounds")}: ${number(cell.worst, metric.digits)} … ${number(cell.best, metric.digits)}`);
    return [h("a", { class: "value", href: EChat.link(["samples"], query), title: t("basis", { n: cell.n, clusters: cell.clusters }) }, number(cell.value, metric.digits)),
      range, whisker(cell, scale, `${system.role} ${side}`), counts(cell), missing];
  }

  function valueCell(shown, system, task, title) {
    const parts = shown.map(({ metric, scale, side }) => h("div", { class: `measure ${side}`, "data-metric": metric.name }, measured(metric, system, task, scale, side)));
    return h("td", { class: "number", role: "cell", "data-task": task, "data-title": title }, parts);
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
    const unit = (EChat.tongue === "zh" && EChat.units[metric.unit]) || metric.unit;
    const margin = `±${found.margin}${unit ? ` ${unit}` : ""}`;
    const pairs = found.pairs.map((pair) => t("pair", { first: pair[0], second: pair[1] })).join(t("semicolon"));
    return h("p", { class: "quiet" }, pairs ? t("within", { margin, pairs }) : t("noneWithin", { margin }));
  }

  // How missing rows of a metric without an upper end count.
  function capNote(metric) {
    const { factor, most } = EChat.board.caps;
    if (!(metric.name in most)) return null;
    return h("p", { class: "quiet" }, t("capNote", { factor, most: number(most[metric.name], metric.digits) }));
  }

  // Systems before floors and ceilings, best first: what every view opens on.
  EChat.bestFirst = () => {
    const { systems, metrics, overall } = EChat.board;
    const headline = metrics[0];
    const place = (system) => {
      const cell = headline && cellOf(headline, system.name, overall);
      return cell && cell.value !== null ? (headline.higher ? -cell.value : cell.value) : Infinity;
    };
    const keys = new Map(systems.map((s) => [s, [s.role === "system" ? 0 : 1, place(s)]]));
    return [...systems].sort((x, y) => {
      const a = keys.get(x), b = keys.get(y);
      return a[0] - b[0] || (a[1] === b[1] ? 0 : a[1] < b[1] ? -1 : 1);
    }).map((s) => s.name);
  };

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
    return h("th", { scope: "col", role: "columnheader", class: extra, "data-column": name, "aria-sort": active ? (order.down ? "descending" : "ascending") : "none" },
      h("button", { type: "button", onclick: flip, title: t("sortBy", { name: title }) }, title, h("span", { class: "arrow", "aria-hidden": "true" }, active ? (order.down ? "▾" : "▴") : "")));
  }

  // All tasks, and each task to which one of the metrics applies.
  function columnsOf(metrics) {
    const { overall, systems, tasks } = EChat.board;
    const states = (cell) => cell && (cell.value !== null || cell.counts.failed || cell.counts.missing);
    const applies = (task) => metrics.some((metric) => systems.some((system) => states(cellOf(metric, system.name, task.name))));
    return [...(metrics[0].tasks_only ? [] : [overall]), ...tasks.filter(applies).map((task) => task.name)];
  }

  function columnTitle(column) {
    return column === EChat.board.overall ? t("all") : EChat.taskTitle(EChat.board.tasks.find((task) => task.name === column));
  }

  // Roles are stated, because a phone shows rows as blocks, and a table without its layout loses them.
  function table(shown, redraw) {
    const board = EChat.board;
    const metric = shown[0].metric;
    const columns = columnsOf(shown.map((one) => one.metric));
    const ranked = metric.headline;
    const head = h("tr", { role: "row" }, ranked ? h("th", { scope: "col", role: "columnheader", class: "rank" }, t("rank")) : null, heading("name", t("system"), redraw, "name"),
      columns.map((column) => heading(column, columnTitle(column), redraw, "number")));
    const row = (system) => h("tr", { role: "row", "data-system": system.name },
      ranked ? h("td", { class: "rank", role: "cell", "data-title": rankText(metric, system) ? t("rank") : null }, rankText(metric, system)) : null,
      h("th", { scope: "row", role: "rowheader", class: "name" }, h("span", { class: "system" }, system.name), EChat.tags(system),
        board.earlier[system.name] ? h("span", { class: "tag" }, t("earlierReplies", { n: board.earlier[system.name] })) : null),
      columns.map((task) => valueCell(shown, system, task, columnTitle(task))));
    const real = board.systems.filter((s) => s.role === "system");
    const frame = board.systems.filter((s) => s.role !== "system");
    const divider = () => h("tr", { class: "divider", role: "row" }, h("td", { role: "cell", colspan: columns.length + (ranked ? 2 : 1) }, t("floors")));
    return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("leaderboard") },
      h("table", { class: "leaderboard stacks", role: "table" }, h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, sorted(real, metric).map(row)),
        frame.length ? h("tbody", { class: "frame", role: "rowgroup" }, divider(), sorted(frame, metric).map(row)) : null));
  }

  // A table of texts with the name of a system in its first column.
  function textTable(title, titles, rows, extra) {
    const kind = (column) => (column === 0 ? "name" : column < 3 ? "" : "number");
    return [h("h2", {}, title), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": title },
      h("table", { class: "leaderboard stacks gaps", role: "table", ...extra },
        h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, titles.map((text, n) => h("th", { scope: "col", role: "columnheader", class: kind(n) }, text)))),
        h("tbody", { role: "rowgroup" }, rows.map((cells) => h("tr", { role: "row" }, cells.map(EChat.phrase).map((text, n) => (n
          ? h("td", { class: kind(n), role: "cell", "data-title": titles[n] }, text) : h("th", { class: kind(n), scope: "row", role: "rowheader" }, text))))))))];
  }

  function columnName(column) {
    return typeof column === "string" ? column : [column.task, column.metric, column.test_set].filter(Boolean).join(", ");
  }

  // What systems can name when asked, minus what they act on; the cells are texts.
  function gaps() {
    const { gaps, gap_notes: notes } = EChat.board;
    if (!gaps.length) return null;
    const titles = ["system", "cue", "matchedBy", "count", "asked", "matched", "gap", "normalised"].map((name) => t(name));
    return [textTable(t("listeningGap"), titles, gaps), EChat.notes(notes)];
  }

  // Times to the first audio: one table per clock, because what ends the user's turn decides what a time means.
  function times() {
    const titles = ["system", "turnNumbers", "pace", "count", "firstAudioTime", "firstAudibleTime", "roundTrip", "breaks"].map((name) => t(name));
    return EChat.board.times.map(({ clock, rows, notes }) => [textTable(t(`times_${clock}`), titles, rows, { "data-clock": clock }), EChat.notes(notes)]);
  }

  function published() {
    return EChat.board.published.map((source) => h("details", { class: "published" },
      h("summary", {}, `${t("published")}${t("colon")} ${source.title}`),
      h("p", { class: "quiet" }, t("publishedNote")), h("p", { class: "quiet" }, source.source),
      h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": source.title }, h("table", { class: "leaderboard" },
        h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "name" }, t("system")), source.columns.map((c) => h("th", { scope: "col", class: "number" }, columnName(c))))),
        h("tbody", {}, source.rows.map((row) => h("tr", {}, h("th", { scope: "row", class: "name" }, `${row.system} †`),
          row.values.map((value) => h("td", { class: "number" }, value === null ? "–" : String(value))))))))));
  }

  function licences() {
    const stated = EChat.board.tasks.filter((task) => task.licence);
    return stated.length === 0 ? null : h("details", { class: "licences" }, h("summary", {}, t("licences")),
      h("ul", {}, stated.map((task) => h("li", {}, `${EChat.taskTitle(task)}${t("colon")} `,
        [task.licence, task.voices, task.citation, task.audible ? null : t("notAudible")].filter(Boolean).join(t("semicolon"))))));
  }

  // Lines that begin with a dash are the items of the line before them.
  EChat.notes = (lines) => {
    const parts = [];
    for (const line of lines.map(EChat.phrase)) {
      const items = parts.length && line.startsWith("- ") ? parts[parts.length - 1] : null;
      if (items) items.push(line.slice(2));
      else parts.push([line]);
    }
    return parts.map(([first, ...items]) => h("div", { class: "quiet note" }, h("p", {}, first), items.length ? h("ul", {}, items.map((item) => h("li", {}, item))) : null));
  };

  function notesOf(metric) {
    const board = EChat.board;
    return [EChat.notes([...board.people[metric.name], ...board.shares[metric.name]]), capNote(metric), equivalence(metric),
      metric.tasks_only ? h("p", { class: "quiet" }, t("tasksOnly")) : null];
  }

  function head() {
    const board = EChat.board;
    return [h("h1", {}, board.title || t("leaderboard")),
      board.authors ? h("p", { class: "authors" }, board.authors) : null,
      h("p", { class: "facts" }, [t("facts", { systems: board.systems.length, samples: board.total }), board.anonymous ? t("anonymous") : null].filter(Boolean).join(" · "))];
  }

  EChat.showLeaderboard = (main, where) => {
    const board = EChat.board;
    const settings = EChat.settingsOf(where.query);
    const [metric, second] = [EChat.metricOf(settings), EChat.secondOf(settings)];
    const redraw = () => EChat.showLeaderboard(main, where);
    const change = (name, value) => EChat.go(EChat.link([], new URLSearchParams({ metric: settings.metric, second: settings.second, [name]: value })));
    const others = board.metrics.filter((m) => m !== metric);
    const shown = [metric, second].filter(Boolean).map((m, n) => ({ metric: m, scale: scaleOf(m, columnsOf([metric])), side: second ? (n ? "is-b" : "is-a") : "" }));
    main.replaceChildren(h("div", { class: "page" }, head(),
      board.total ? null : h("p", { class: "notice" }, t("noSamples")),
      !metric ? h("p", { class: "notice" }, t("nothingScored")) : [
        h("div", { class: "bar" }, h("div", { class: "pick" }, choice("metric", metric.name, board.metrics, change)),
          others.length ? h("div", { class: "pick" }, choice("second", second ? second.name : "none", others, change)) : null),
        h("p", { class: "legend" }, shown.map(({ metric: m, side }) => h("span", { class: "key-of" },
          side ? h("b", { class: side, "aria-hidden": "true" }, "■ ") : null, h("b", {}, EChat.metricTitle(m)), " ", h("span", { class: "quiet" }, m.higher ? t("higher") : t("lower")),
          m.headline ? h("span", { class: "tag" }, t("headline")) : null, m.proxy ? h("span", { class: "tag warn" }, t("proxy")) : null))),
        table(shown, redraw),
        second ? EChat.scatter(metric, second, order.column, cellOf) : null,
        h("div", { class: "notes" }, h("p", { class: "quiet" }, `${t("interval")}${t("stop")} ${t("legend")}`),
          metric.headline && Object.keys(board.ranks).length > 1 ? h("p", { class: "quiet" }, t("rankNote")) : null,
          shown.map((one) => notesOf(one.metric)),
          second && second.name === board.people_metric ? h("p", { class: "quiet" }, t("peopleNote")) : null,
          metric.headline ? EChat.notes(board.notes) : null)],
      gaps(), times(), licences(), published()));
    return board.title || t("leaderboard");
  };
})();
