"use strict";
// Two systems side by side on the same samples, flips first.
(() => {
  const { h, t, number } = EChat;

  // Whether a value is in the better half of the range. A metric with an open range has no halves: there only a
  // failed reply against a scored one is a flip.
  function good(value, letter, metric) {
    if (letter === "f") return false;
    if (letter !== "v" || value === null) return null;
    if (metric.low === null || metric.high === null) return true;
    const middle = (metric.low + metric.high) / 2;
    return metric.higher ? value > middle : value < middle;
  }

  EChat.contest = (sample, settings) => {
    const metric = EChat.metricOf(settings);
    if (!metric) return { kind: "none", gap: 0 };
    const sides = [settings.a, settings.b].map((system) => ({ value: EChat.valueOf(sample, system, settings), letter: EChat.stateOf(sample, system, settings) }));
    const [a, b] = sides;
    const [goodA, goodB] = sides.map((side) => good(side.value, side.letter, metric));
    const both = a.value !== null && a.value !== undefined && b.value !== null && b.value !== undefined;
    const gap = both ? (metric.higher ? 1 : -1) * (a.value - b.value) : 0;
    const flip = goodA !== null && goodB !== null && goodA !== goodB;
    const kind = !both && !flip ? "none" : gap === 0 && !flip ? "tied" : (gap || (goodA ? 1 : -1)) > 0 ? "won" : "lost";
    return { kind, gap, flip, a, b, metric };
  };

  function order(found, settings) {
    const contests = new Map(found.map((n) => [n, EChat.contest(n, settings)]));
    if (settings.order !== "given") {
      const rank = (n) => {
        const c = contests.get(n);
        return [c.flip ? 0 : c.kind === "none" ? 2 : 1, -Math.abs(c.gap)];
      };
      found = [...found].sort((x, y) => { const p = rank(x), q = rank(y); return p[0] - q[0] || p[1] - q[1] || x - y; });
    }
    return [found, contests];
  }

  function side(contest, settings) {
    if (contest.kind === "none") return h("span", { class: "standing quiet" }, t("notBoth"));
    const digits = contest.metric.digits;
    const text = (s) => (s.value === null || s.value === undefined ? t(EChat.stateWord(s.letter)) : number(s.value, digits));
    return [contest.flip ? h("span", { class: "chip flip" }, t("flip")) : null,
      h("span", { class: "standing" }, h("b", { class: "is-a" }, "A ", text(contest.a)), " ", h("b", { class: "is-b" }, "B ", text(contest.b)))];
  }

  function tally(found, contests, settings) {
    const count = { won: 0, lost: 0, tied: 0, none: 0, flips: 0 };
    for (const n of found) { const c = contests.get(n); count[c.kind] += 1; if (c.flip) count.flips += 1; }
    const total = Math.max(1, count.won + count.lost + count.tied);
    const part = (kind) => {
      const bar = h("span", { class: `part ${kind}`, title: `${t(kind)}: ${count[kind]}` });
      bar.style.flexGrow = count[kind] / total;
      return bar;
    };
    return h("div", { class: "tally" },
      h("p", {}, h("b", { class: "is-a" }, "A "), `${settings.a} · `, h("b", { class: "is-b" }, "B "), settings.b),
      h("div", { class: "parts", "aria-hidden": "true" }, part("won"), part("tied"), part("lost")),
      h("p", {}, [t("shown", { n: found.length, all: EChat.index.rows.length }), `${t("won")} ${count.won}`, `${t("lost")} ${count.lost}`,
        `${t("tied")} ${count.tied}`, `${t("notBoth")} ${count.none}`, t("flips", { n: count.flips })].join(" · ")),
      h("p", { class: "quiet" }, t("flipNote")));
  }

  EChat.showCompare = (main, where) => {
    const settings = EChat.settingsOf(where.query);
    if (!settings.a || !settings.b) {
      main.replaceChildren(h("div", { class: "page" }, h("h1", {}, t("compare")), h("p", { class: "notice" }, t("needTwo"))));
      return t("compare");
    }
    const names = EChat.board.systems.map((s) => [s.name, s.name]);
    const [found, contests] = order(EChat.select(settings, [settings.a, settings.b]), settings);
    EChat.swap = () => {
      where.query.set("a", settings.b);
      where.query.set("b", settings.a);
      EChat.go(EChat.link(where.path, where.query), true);
    };
    EChat.twoPanes(main, where, {
      kind: "compare", settings, found,
      extra: [
        ["a", t("chooseA"), names.filter(([n]) => n !== settings.b)], ["b", t("chooseB"), names.filter(([n]) => n !== settings.a)],
        ["order", t("sort"), [["", t("orderFlips")], ["given", t("orderGiven")]]],
      ],
      head: h("div", {}, h("button", { type: "button", class: "plain", onclick: EChat.swap }, "⇄ ", t("swap")), tally(found, contests, settings)),
      build: (n, query) => EChat.listRow(n, query, side(contests.get(n), settings), "compare"),
      open: (pane, sample) => EChat.showDetail(pane, sample, [settings.a, settings.b], "compare"),
    });
    return t("compare");
  };
})();
