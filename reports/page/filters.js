"use strict";
// Filters of samples. All settings are in the address, so that a link contains them.
(() => {
  const { h, t } = EChat;
  EChat.FILTERS = ["task", "label", "language", "source", "state", "q", "metric", "second", "system", "order", "a", "b"];

  EChat.settingsOf = (query) => {
    const board = EChat.board;
    const names = board.systems.map((s) => s.name);
    const pick = (name, known, otherwise) => (known.includes(query.get(name)) ? query.get(name) : otherwise);
    const metrics = board.metrics.map((m) => m.name);
    const metric = pick("metric", metrics, metrics[0] || "");
    // People stand beside the metric by themselves, where there are ratings.
    const beside = metrics.includes(board.people_metric) ? board.people_metric : "none";
    const best = EChat.bestFirst();
    const a = pick("a", names, best[0]);
    return {
      task: query.get("task") || "", label: query.get("label") || "", language: query.get("language") || "",
      source: query.get("source") || "", state: query.get("state") || "", q: query.get("q") || "",
      metric, second: pick("second", ["none", ...metrics], beside),
      system: pick("system", names, best[0] || ""), order: query.get("order") || "",
      a, b: pick("b", names.filter((n) => n !== a), best.find((n) => n !== a) || ""),
    };
  };

  EChat.metricOf = (settings) => EChat.board.metrics.find((m) => m.name === settings.metric);
  // The metric beside it; null: none.
  EChat.secondOf = (settings) => EChat.board.metrics.find((m) => m.name === settings.second && m.name !== settings.metric) || null;
  EChat.valueOf = (number, system, settings) => {
    const column = EChat.index.values[settings.metric]?.[system];
    return column ? column[number] : null;
  };
  // The state of the score, or of the reply if there is no score.
  EChat.stateOf = (number, system, settings) => {
    const column = EChat.index.states[settings.metric]?.[system];
    const reply = (EChat.index.replies[system] || "")[number] || ".";
    return column && column[number] !== "." ? column[number] : reply;
  };

  EChat.select = (settings, systems) => {
    const index = EChat.index;
    const task = EChat.board.tasks.findIndex((entry) => entry.name === settings.task);
    const [cue, label] = settings.label.split(":", 2);
    const words = settings.q.trim().toLowerCase();
    const found = [];
    index.rows.forEach((row, number) => {
      if (settings.task && row[0] !== task) return;
      if (settings.label && row[3][cue] !== label) return;
      if (settings.language && row[4] !== settings.language) return;
      if (settings.source && row[5] !== settings.source) return;
      if (settings.state && !systems.some((system) => EChat.stateOf(number, system, settings) === settings.state)) return;
      if (words && !(row[1].toLowerCase().includes(words) || row[2].toLowerCase().includes(words))) return;
      found.push(number);
    });
    return found;
  };

  function choice(name, title, value, options, change) {
    return h("label", { class: "field" }, h("span", {}, title),
      h("select", { name, onchange: (e) => change(name, e.target.value) }, options.map(([key, text]) =>
        (Array.isArray(text) ? h("optgroup", { label: key }, text.map(([k, w]) => h("option", { value: k, selected: k === value }, w)))
          : h("option", { value: key, selected: key === value }, text)))));
  }

  // extra: fields of one view, placed before the shared fields; beside: offer a second metric.
  EChat.filterBar = (settings, extra, change, clear, beside) => {
    const board = EChat.board;
    const all = ["", t("everything")];
    const fields = [
      ...extra.map(([name, title, options]) => choice(name, title, settings[name], options, change)),
      board.metrics.length ? choice("metric", t("metric"), settings.metric, board.metrics.map((m) => [m.name, EChat.metricName(m)]), change) : null,
      beside && board.metrics.length > 1 ? choice("second", t("second"), EChat.secondOf(settings) ? settings.second : "none",
        [["none", t("none")], ...board.metrics.filter((m) => m.name !== settings.metric).map((m) => [m.name, EChat.metricName(m)])], change) : null,
      choice("task", t("task"), settings.task, [all, ...board.tasks.map((x) => [x.name, EChat.taskTitle(x)])], change),
      choice("label", t("label"), settings.label, [all, ...board.labels.map((x) => [EChat.cueName(x.cue), x.labels.map((l) => [`${x.cue}:${l}`, EChat.labelName(x.cue, l)])])], change),
      choice("language", t("spoken"), settings.language, [all, ...board.languages.map((x) => [x, x])], change),
      choice("source", t("source"), settings.source, [all, ...board.sources.map((x) => [x, t(x)])], change),
      choice("state", t("state"), settings.state, [all, ...["v", "f", "m", "n", "."].map((x) => [x, t(EChat.stateWord(x))])], change),
    ];
    const search = h("input", { type: "search", id: "search", value: settings.q, placeholder: t("search"), "aria-label": t("search"),
                                oninput: (e) => change("q", e.target.value, true) });
    const folded = window.matchMedia("(max-width: 720px)").matches;
    return h("div", { class: "filters" }, search,
      h("details", { class: "fold", open: !folded }, h("summary", {}, t("filters")),
        h("div", { class: "fields" }, fields, h("button", { type: "button", class: "plain", onclick: clear }, t("clear")))));
  };
})();
