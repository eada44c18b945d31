"use strict";
// The list of samples and the open sample beside it. Rows are added when they become visible.
(() => {
  const { h, t, number } = EChat;
  const STEP = 80;
  const view = { list: [], kind: null };
  EChat.view = view;

  function chips(cues) {
    return Object.entries(cues).map(([cue, label]) => h("span", { class: "chip", title: EChat.cueName(cue) }, EChat.labelName(cue, label)));
  }
  EChat.chips = chips;

  // The value of one reply by one metric, or why there is none.
  EChat.standingOf = (sample, system, metric) => {
    const settings = { metric: metric.name };
    const value = EChat.valueOf(sample, system, settings);
    const letter = EChat.stateOf(sample, system, settings);
    if (value !== null && value !== undefined && letter === "v") return { text: number(value, metric.digits), letter };
    return { text: letter === "v" ? "–" : t(EChat.stateWord(letter)), letter: letter === "." ? "x" : letter };
  };

  function standing(sample, settings) {
    const metrics = [EChat.metricOf(settings), EChat.secondOf(settings)].filter(Boolean);
    if (!metrics.length) return null;
    return h("span", { class: "standing" }, metrics.map((metric, n) => {
      const { text, letter } = EChat.standingOf(sample, settings.system, metric);
      const side = metrics.length > 1 ? (n ? "is-b" : "is-a") : "";
      return h("span", { class: `one ${letter === "v" ? side : `state-${letter}`}`, title: EChat.metricName(metric) }, text);
    }));
  }

  EChat.listRow = (sample, query, side, kind) => {
    const [task, id, transcript, cues, language] = EChat.index.rows[sample];
    const name = EChat.board.tasks[task].name;
    return h("li", {}, h("a", { class: "row", href: EChat.link([kind, name, id], query), "data-number": sample, lang: language },
      h("span", { class: "words", dir: "auto" }, transcript),
      h("span", { class: "meta" }, h("span", { class: "task" }, EChat.taskTitle(EChat.board.tasks[task])), chips(cues), side)));
  };

  function sortSamples(found, settings) {
    const metric = EChat.metricOf(settings);
    if (!metric || !["worst", "best"].includes(settings.order)) return found;
    const sign = (settings.order === "worst") === metric.higher ? 1 : -1;
    const rank = (n) => {
      const value = EChat.valueOf(n, settings.system, settings);
      return value === null || value === undefined ? Infinity : sign * value;
    };
    return found.map((n) => [rank(n), n]).sort((x, y) => (x[0] === y[0] ? x[1] - y[1] : x[0] < y[0] ? -1 : 1)).map((x) => x[1]);
  }

  function tally(found, settings) {
    const shown = t("shown", { n: found.length, all: EChat.index.rows.length });
    const metrics = [EChat.metricOf(settings), EChat.secondOf(settings)].filter(Boolean);
    const means = metrics.map((metric, n) => {
      const values = found.map((row) => EChat.valueOf(row, settings.system, { metric: metric.name })).filter((v) => v !== null && v !== undefined);
      if (!values.length) return null;
      const value = number(values.reduce((sum, v) => sum + v, 0) / values.length, metric.digits);
      const text = t("mean", { n: values.length, value });
      return metrics.length > 1 ? h("span", { class: `line ${n ? "is-b" : "is-a"}` }, `${EChat.metricName(metric)}${t("colon")} ${text}`) : ` · ${text}`;
    });
    return h("p", { class: "tally", title: t("exploratory") }, shown, means);
  }

  // A list that grows when its end becomes visible.
  EChat.growing = (found, build) => {
    const list = h("ol", { class: "list" });
    const rest = h("div", { class: "rest-of-list" });
    let next = 0;
    const grow = () => {
      list.append(...found.slice(next, next + STEP).map(build));
      next += STEP;
      if (next >= found.length) { watcher.disconnect(); rest.remove(); }
    };
    const watcher = new IntersectionObserver((seen) => { if (seen.some((s) => s.isIntersecting)) grow(); }, { rootMargin: "600px" });
    grow();
    if (next < found.length) watcher.observe(rest);
    list.growTo = (position) => { while (next <= position && next < found.length) grow(); };
    return [list, rest];
  };

  // Shared by both views: the list on the left, the open sample on the right.
  EChat.twoPanes = (main, where, options) => {
    const { kind, settings, found, extra, head, build, open } = options;
    const query = new URLSearchParams(EChat.FILTERS.map((k) => [k, where.query.get(k) || ""]).filter(([, v]) => v));
    Object.assign(view, { list: found, kind, query });
    const change = (name, value, typing) => {
      query.set(name, value);
      if (!value) query.delete(name);
      const keep = typing ? document.activeElement : null;
      const caret = keep ? keep.selectionStart : 0;
      EChat.go(EChat.link(where.path, query), true);
      const again = keep ? document.getElementById("search") : document.querySelector(`select[name="${name}"]`);
      if (again) { again.focus({ preventScroll: true }); if (keep) again.setSelectionRange(caret, caret); }
    };
    const kept = main.querySelector(`.panes[data-kind="${kind}"]`);
    const scrolled = kept ? kept.querySelector(".side").scrollTop : 0;
    const unfolded = kept ? kept.querySelector(".fold").open : null;
    const bar = EChat.filterBar(settings, extra, change, () => EChat.go(EChat.link(where.path), true), kind === "samples");
    if (unfolded !== null) bar.querySelector(".fold").open = unfolded;
    const grown = EChat.growing(found, (n) => build(n, query));
    const pane = h("section", { class: "pane", "aria-live": "off" });
    const opened = where.path.length >= 3;
    main.replaceChildren(h("div", { class: `panes ${opened ? "opened" : "closed"}`, "data-kind": kind },
      h("h1", { class: "visually-hidden" }, t(kind)), h("section", { class: "side", "aria-label": t("samples") }, bar, head,
        found.length ? grown : h("p", { class: "notice" }, EChat.index.rows.length ? t("noMatch") : t("noSamples"))), pane));
    // If both panes are visible, open the first sample of the list.
    const wide = !window.matchMedia("(max-width: 720px)").matches;
    const task = EChat.board.tasks.findIndex((x) => x.name === where.path[1]);
    const sample = opened ? EChat.index.rows.findIndex((row) => row[0] === task && row[1] === where.path[2]) : wide && found.length ? found[0] : -1;
    const side = main.querySelector(".side");
    view.current = sample;
    side.scrollTop = scrolled;
    if (sample < 0) { if (opened) pane.append(h("p", { class: "notice" }, t("unknownSample"))); return; }
    grown[0].growTo(found.indexOf(sample));
    open(pane, sample);
    const row = grown[0].querySelector(`[data-number="${sample}"]`);
    if (!row) return;
    row.setAttribute("aria-current", "true");
    if (opened) row.scrollIntoView({ block: "nearest" });
  };

  EChat.showSamples = (main, where) => {
    const settings = EChat.settingsOf(where.query);
    const found = sortSamples(EChat.select(settings, [settings.system]), settings);
    EChat.twoPanes(main, where, {
      kind: "samples", settings, found,
      extra: [
        ["system", t("system"), EChat.board.systems.map((s) => [s.name, s.name])],
        ["order", t("sort"), [["", t("orderGiven")], ["worst", t("orderWorst")], ["best", t("orderBest")]]],
      ],
      head: tally(found, settings),
      build: (n, query) => EChat.listRow(n, query, standing(n, settings), "samples"),
      open: (pane, sample) => {
        const others = EChat.board.systems.map((s) => s.name).filter((n) => n !== settings.system);
        EChat.showDetail(pane, sample, [settings.system, ...others].filter(Boolean), "samples");
      },
    });
    return t("samples");
  };
})();
