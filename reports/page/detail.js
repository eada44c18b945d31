"use strict";
// One sample: the query, its contrast group, and the reply of every system with its verdicts.
(() => {
  const { h, t, number } = EChat;
  const LONG = 1500;

  function prose(text, language) {
    if (text.length <= LONG) return h("p", { class: "prose", lang: language, dir: "auto" }, text);
    const paragraph = h("p", { class: "prose", lang: language, dir: "auto" }, text.slice(0, LONG), "…");
    const more = h("button", { type: "button", class: "plain", onclick: () => { paragraph.textContent = text; more.remove(); } }, t("more", { n: text.length }));
    return [paragraph, more];
  }

  function figure(value) {
    if (typeof value !== "number") return String(value);
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
  }

  // A mapping of shares is a distribution and is drawn as bars.
  function bars(entries) {
    const top = Math.max(...entries.map(([, v]) => v), 1e-9);
    return h("dl", { class: "bars" }, entries.map(([name, value]) => {
      const fill = h("span", { class: "fill" });
      fill.style.width = `${Math.max(0, (100 * value) / top)}%`;
      return [h("dt", {}, name), h("dd", {}, h("span", { class: "gauge", "aria-hidden": "true" }, fill), figure(value))];
    }));
  }

  function tree(value) {
    if (value === null || value === undefined) return "–";
    if (Array.isArray(value)) {
      if (value.every((v) => v === null || typeof v !== "object")) return value.map(figure).join(", ");
      return h("ol", {}, value.map((v) => h("li", {}, tree(v))));
    }
    if (typeof value === "object") {
      const entries = Object.entries(value);
      const shares = entries.length > 2 && entries.every(([, v]) => typeof v === "number" && v >= 0 && v <= 1);
      if (shares) return bars(entries);
      return h("dl", { class: "tree" }, entries.map(([k, v]) => [h("dt", {}, k), h("dd", {}, tree(v))]));
    }
    return typeof value === "string" ? h("span", { dir: "auto" }, value) : figure(value);
  }

  function badge(state, reason) {
    if (state === "value") return null;
    return h("p", { class: `badge state-${state === "not applicable" ? "n" : state[0]}` }, EChat.stateName(state), reason ? h("span", {}, ` – ${reason}`) : null);
  }

  // The text of a verdict is always visible; the rest of the evidence is folded.
  function verdicts(evidence) {
    const words = [];
    const visit = (value) => {
      if (Array.isArray(value)) value.forEach(visit);
      else if (value && typeof value === "object") for (const [name, inner] of Object.entries(value)) {
        if (/^(verdict|reason|reasons|why)$/.test(name) && [inner].flat().every((x) => typeof x === "string")) words.push(...[inner].flat());
        else visit(inner);
      }
    };
    visit(evidence);
    return words.map((text) => h("blockquote", { class: "verdict", dir: "auto" }, prose(text)));
  }

  function amount(score, metric) {
    if (score.value === null || score.value === undefined) return "–";
    return `${number(score.value, metric.digits)}${metric.unit === "%" ? " %" : metric.unit === "s" ? " s" : ""}`;
  }

  // A rating on its own scale: "empathy 4.3 (1 to 5), 3 raters".
  function rated([dimension, found]) {
    return h("li", {}, t("rated", { dimension, mean: figure(found.mean), low: figure(found.low), high: figure(found.high), raters: found.raters }));
  }

  // The judge's grade and people's beside each other, before all other scores.
  function grades(scores) {
    const { judge, people_metric: people, metrics } = EChat.board;
    const rows = [judge, people].map((name) => [metrics.find((m) => m.name === name), scores.find((s) => s.metric === name)]).filter(([metric]) => metric);
    if (!rows.length || !rows.some(([, score]) => score)) return null;
    return h("dl", { class: "grades" }, rows.map(([metric, score]) => h("div", { "data-metric": metric.name },
      h("dt", {}, EChat.metricTitle(metric)), h("dd", {}, score ? amount(score, metric) : h("span", { class: "none" }, "–")))));
  }

  function scoreRow(score) {
    const metric = EChat.board.metrics.find((m) => m.name === score.metric) || { title: score.metric, digits: 2, unit: "" };
    const people = score.metric === EChat.board.people_metric;
    const folded = !people && Object.keys(score.evidence || {}).length > 0;
    return h("div", { class: "score", "data-metric": score.metric },
      h("div", { class: "line" }, h("span", {}, EChat.metricName(metric), metric.proxy && !metric.title.includes("proxy") ? h("span", { class: "tag warn" }, t("proxyTag")) : null),
        h("b", {}, amount(score, metric))),
      badge(score.state, score.reason), people ? h("ul", { class: "rated" }, Object.entries(score.evidence).map(rated)) : verdicts(score.evidence),
      folded ? h("details", {}, h("summary", {}, t("evidence")), tree(score.evidence), keyOf(score)) : null);
  }

  function keyOf(row) {
    return row.key ? h("p", { class: "key" }, `${t("key")} ${row.key}`) : null;
  }

  function heard(perceived, gold) {
    const entries = Object.entries(perceived || {});
    if (!entries.length) return null;
    return h("p", { class: "perceived" }, h("span", { class: "quiet" }, t("perceived"), " "), entries.map(([cue, label]) => {
      const known = gold[cue] !== undefined;
      const right = known && gold[cue] === label;
      return h("span", { class: `chip ${known ? (right ? "right" : "wrong") : ""}`, title: EChat.cueName(cue) },
        known ? (right ? "✓ " : "✗ ") : "", EChat.labelName(cue, label), known && !right ? ` (${t("heardAs", { gold: EChat.labelName(cue, gold[cue]) })})` : "");
    }));
  }

  function timing(reply) {
    const parts = [];
    if (reply.first_audio_seconds !== null && reply.first_audio_seconds !== undefined) parts.push(t("firstAudio", { s: reply.first_audio_seconds.toFixed(2) }));
    if (reply.first_audible_seconds !== null && reply.first_audible_seconds !== undefined) parts.push(t("firstAudible", { s: reply.first_audible_seconds.toFixed(2) }));
    if (reply.interruptions) parts.push(t("interruptions", { n: reply.interruptions }));
    if (reply.seconds !== null && reply.seconds !== undefined) parts.push(t("latency", { s: reply.seconds.toFixed(2) }));
    return parts.length ? h("span", { class: "quiet" }, parts.join(" · ")) : null;
  }

  function annotation(row) {
    return h("details", { class: "annotation" }, h("summary", {}, row.annotator, row.state === "value" ? "" : ` – ${EChat.stateName(row.state)}`),
      badge(row.state, row.reason), tree(row.values), keyOf(row));
  }

  function card(system, sample, row, position, letter) {
    const reply = sample.replies[system];
    const facts = EChat.board.systems.find((s) => s.name === system);
    const title = h("h3", {}, letter ? h("b", { class: `is-${letter}` }, `${letter.toUpperCase()} `) : null, h("span", { class: "system" }, system),
      EChat.tags(facts));
    if (!reply) return h("article", { class: "card", "data-system": system }, title, h("p", { class: "notice" }, t("notYet")));
    return h("article", { class: `card ${letter ? `side-${letter}` : ""}`, "data-system": system }, title, badge(reply.state, reply.reason),
      turns(dialogue(sample, reply), row[4]),
      reply.audio ? EChat.player(reply.audio, system, `reply-${position}`) : reply.state === "value" ? h("p", { class: "quiet" }, t("noAudio")) : null,
      reply.text ? prose(reply.text, row[4]) : reply.state === "value" ? h("p", { class: "quiet" }, t("noWords")) : null,
      heard(reply.perceived, row[3]),
      reply.think ? h("details", { class: "think" }, h("summary", {}, t("think")), prose(reply.think, row[4])) : null,
      grades(reply.scores),
      reply.scores.length ? h("section", { class: "scores" }, h("h4", {}, t("scores")), reply.scores.map(scoreRow)) : null,
      reply.annotations.length ? h("section", {}, h("h4", {}, t("annotations")), reply.annotations.map(annotation)) : null,
      timing(reply));
  }

  function siblings(sample, kind) {
    const rows = EChat.index.rows;
    const [task, , , , , , group] = rows[sample];
    if (group === null) return null;
    const others = rows.map((row, n) => n).filter((n) => n !== sample && rows[n][0] === task && rows[n][6] === group);
    if (!others.length) return null;
    return h("nav", { class: "siblings", "aria-label": t("siblings") }, h("span", { class: "quiet" }, `${t("siblings")}${t("colon")} `),
      others.map((n) => h("a", { class: "sibling", href: EChat.link([kind, EChat.board.tasks[task].name, rows[n][1]], EChat.view.query) },
        Object.entries(rows[n][3]).map(([cue, label]) => EChat.labelName(cue, label)).join(" · "))));
  }

  function turns(list, language) {
    if (!list.length) return null;
    return h("details", { open: "" }, h("summary", {}, t("history")), list.map((turn) => h("div", { class: `turn ${turn.role}` },
      h("b", {}, t(turn.role)), turn.text ? prose(turn.text, language) : null, EChat.player(turn.audio, t(turn.role)), timing(turn))));
  }

  // In a live dialogue the scripted turns are the sample's, and the replies between them are each system's own.
  function dialogue(sample, reply) {
    if (!reply || !reply.turns) return [];
    return sample.history.flatMap((turn, n) => [turn, reply.turns[n]]).filter((turn) => turn);
  }

  function steps(sample, kind) {
    const at = EChat.view.list.indexOf(sample);
    const to = (n, sign, word) => (n === undefined ? h("span", { class: "step off", "aria-hidden": "true" }, sign)
      : h("a", { class: "step", href: EChat.link([kind, EChat.board.tasks[EChat.index.rows[n][0]].name, EChat.index.rows[n][1]], EChat.view.query), "aria-label": t(word) }, sign));
    return h("div", { class: "steps" }, h("a", { class: "step back", href: EChat.link([kind], EChat.view.query) }, "← ", t("back")),
      h("span", { class: "grow" }), to(at < 0 ? undefined : EChat.view.list[at - 1], "‹", "previous"),
      h("span", { class: "quiet" }, at < 0 ? "" : `${at + 1} / ${EChat.view.list.length}`), to(EChat.view.list[at + 1], "›", "next"));
  }

  EChat.showDetail = (pane, number, systems, kind) => {
    const row = EChat.index.rows[number];
    const task = EChat.board.tasks[row[0]];
    const top = h("div", {}, steps(number, kind), h("h2", {}, EChat.taskTitle(task), " ", h("code", {}, row[1])),
      h("p", { class: "cues" }, Object.entries(row[3]).map(([cue, label]) => h("span", { class: "chip gold" }, h("small", {}, `${EChat.cueName(cue)} `), EChat.labelName(cue, label))),
        h("span", { class: "chip" }, row[4]), h("span", { class: "chip" }, t(row[5]))));
    pane.replaceChildren(top);
    EChat.detail(number).then((sample) => {
      if (!pane.isConnected) return;
      const letters = kind === "compare" ? ["a", "b"] : [];
      pane.append(
        h("section", { class: "query" }, h("h3", { class: "visually-hidden" }, t("query")), turns(sample.history, row[4]), h("blockquote", { class: "said", lang: row[4], dir: "auto" }, prose(sample.transcript, row[4])),
          EChat.player(sample.audio, t("query"), "query"),
          sample.speaker ? h("p", { class: "quiet" }, `${t("speaker")} ${sample.speaker}`) : null,
          siblings(number, kind),
          sample.references.length ? h("details", {}, h("summary", {}, t("references")), h("ul", {}, sample.references.map((text) => h("li", {}, prose(text, row[4]))))) : null),
        h("div", { class: kind === "compare" ? "cards two" : "cards" }, systems.map((system, n) => card(system, sample, row, n + 1, letters[n]))));
    }).catch((error) => pane.append(h("p", { class: "notice" }, t("loadFailed", { file: error.message }))));
  };
})();
