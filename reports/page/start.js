"use strict";
// Routes, keyboard shortcuts, theme and language.
(() => {
  const { h, t } = EChat;
  const main = document.getElementById("main");
  const help = document.getElementById("help");
  const root = document.documentElement;

  function turnTheme() {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
    const next = dark ? "light" : "dark";
    EChat.remember("theme", next);
    root.dataset.theme = next;
  }
  function turnTongue() {
    EChat.tongue = EChat.tongue === "en" ? "zh" : "en";
    EChat.remember("language", EChat.tongue);
    frame();
    show();
  }

  function halfMoon() {
    return h("svg:svg", { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
      h("svg:circle", { cx: 8, cy: 8, r: 6.5, fill: "none", stroke: "currentColor", "stroke-width": 1.5 }),
      h("svg:path", { d: "M8 1.5a6.5 6.5 0 0 1 0 13z", fill: "currentColor" }));
  }

  function frame() {
    root.lang = EChat.tongue === "zh" ? "zh-CN" : "en";
    const skip = document.getElementById("skip");
    skip.textContent = t("skip");
    // The fragment of the address is the route, so move the focus here.
    skip.onclick = (event) => { event.preventDefault(); main.focus(); };
    const links = [["", "leaderboard"], ["samples", "samples"], ["compare", "compare"]];
    const nav = document.getElementById("nav");
    nav.setAttribute("aria-label", "EChat-eval");
    nav.replaceChildren(...links.map(([path, word]) => h("a", { href: EChat.link(path ? [path] : []), "data-view": path }, t(word))));
    document.getElementById("tools").replaceChildren(
      h("button", { type: "button", id: "language", "aria-label": t("languageName"), onclick: turnTongue }, t("language")),
      h("button", { type: "button", id: "theme", "aria-label": t("theme"), title: t("theme"), onclick: turnTheme }, halfMoon()),
      h("button", { type: "button", id: "keys", "aria-label": t("keys"), title: t("keys"), onclick: showHelp }, "?"));
  }

  function show() {
    EChat.silence();
    const where = EChat.place();
    const views = EChat.bare({ "": EChat.showLeaderboard, samples: EChat.showSamples, compare: EChat.showCompare });
    const name = where.path[0] && views[where.path[0]] ? where.path[0] : "";
    // Draw at once if the index is loaded, so that an input field keeps the focus.
    if (name && !EChat.index) { EChat.when("index").then(show); return; }
    EChat.swap = null;
    const title = views[name](main, where);
    const own = EChat.board.title || "EChat-eval";
    document.title = title === own ? own : `${title} – ${own}`;
    document.body.dataset.view = name || "leaderboard";
    for (const a of document.querySelectorAll("#nav a")) {
      if (a.dataset.view === name) a.setAttribute("aria-current", "page");
      else a.removeAttribute("aria-current");
    }
  }

  function showHelp() {
    const keys = [["j k", "keyNext"], ["Enter", "keyOpen"], ["Esc", "keyBack"], ["Space", "keyQuery"], ["1 … 9", "keyReply"], ["/", "keySearch"],
      ["l s c", "keyViews"], ["x", "keySwap"], ["d", "keyTheme"], ["e", "keyLanguage"], ["?", "keyHelp"]];
    const box = h("input", { type: "checkbox", id: "keys-on", checked: EChat.recall("keys") !== "off", onchange: (e) => EChat.remember("keys", e.target.checked ? "on" : "off") });
    help.setAttribute("aria-label", t("keys"));
    help.replaceChildren(h("h2", {}, t("keys")),
      h("table", {}, h("tbody", {}, keys.map(([key, word]) => h("tr", {}, h("th", { scope: "row" }, key.split(" ").map((k) => (k === "…" ? " … " : h("kbd", {}, k)))), h("td", {}, t(word)))))),
      h("label", {}, box, " ", t("keysOn")), h("p", {}, h("button", { type: "button", onclick: () => help.close() }, t("close"))));
    if (!help.open) help.showModal();
  }

  function step(by) {
    const { list, current, kind, query } = EChat.view;
    if (!kind || !list.length) return;
    const at = list.indexOf(current);
    const next = at < 0 ? list[0] : list[at + by];
    if (next === undefined) return;
    const row = EChat.index.rows[next];
    EChat.go(EChat.link([kind, EChat.board.tasks[row[0]].name, row[1]], query), true);
    EChat.say(`${row[1]}: ${row[2]}`);
  }

  function press(slot) {
    const player = document.querySelector(`.player[data-slot="${slot}"]`);
    if (player) player.toggle();
  }

  const ACTIONS = {
    j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
    Enter: () => { if (EChat.view.current < 0) step(1); },
    Escape: () => { const { path } = EChat.place(); if (path.length > 1) EChat.go(EChat.link([path[0]], EChat.view.query)); },
    " ": () => press("query"), "/": () => { const box = document.getElementById("search"); if (box) box.focus(); },
    l: () => EChat.go("#/"), s: () => EChat.go("#/samples"), c: () => EChat.go("#/compare"),
    x: () => { if (EChat.swap) EChat.swap(); }, d: turnTheme, e: turnTongue, "?": showHelp,
  };
  const ALWAYS = new Set(["Escape", "ArrowDown", "ArrowUp", "Enter", " "]);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    const target = event.target;
    if (target.matches("input, select, textarea")) { if (event.key === "Escape") target.blur(); return; }
    if (target.closest("a, button, summary") && (event.key === "Enter" || event.key === " ")) return;
    if (!ALWAYS.has(event.key) && EChat.recall("keys") === "off") return;
    const inList = EChat.place().path[0] === "samples" || EChat.place().path[0] === "compare";
    if ((event.key === "ArrowDown" || event.key === "ArrowUp") && !inList) return;
    const act = /^[1-9]$/.test(event.key) ? () => press(`reply-${event.key}`) : ACTIONS[event.key];
    if (act) { event.preventDefault(); act(); }
  });

  window.addEventListener("hashchange", show);
  frame();
  show();
})();
