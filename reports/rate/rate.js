"use strict";
// A blind rating sheet: one question at a time. The browser stores the progress; the result is saved as a file.
(() => {
  const { h, t } = EChat;
  const WORDS = {
    en: {
      welcome: "Rate replies", intro: "You will hear a speaker and a reply. Rate how well the reply fits this voice, not only these words. You can stop at any time: this browser keeps your ratings.",
      name: "Your name or initials", begin: "Begin", save: "Save my ratings", done: "All questions are answered. Save your ratings and send the file back.",
      of: "Question {n} of {all}, {done} answered", replyN: "Reply {n}", which: "Which reply suits this speaker better?", introMatch: "You will hear two speakers who say the same words, and one reply. Decide which of the two the reply answers. You can stop at any time: this browser keeps your answers.", match: "Which speaker does the reply answer?", neither: "no difference", voice1: "Speaker 1", voice2: "Speaker 2", equal: "equally well", a: "Reply 1", b: "Reply 2",
      content: "Content: does it answer the speaker's words?", cue_awareness: "Awareness: does it respond to how the speaker sounds?", empathy: "Empathy: is it kind and appropriate?",
      overall: "Overall: how well does the reply fit this speaker?", worst: "not at all", best: "fully",
      naturalness: "Naturalness: does the voice of the reply sound like a person?", code: "Your rater code, such as r1", unknownCode: "This sheet has no rater “{code}”. Use the code that you were given.", consent: "I have read this and agree to take part.", needConsent: "You can begin after you agree.", pay: "Pay: {pay}", yourself: "About you (you may leave this empty)", check: "Attention check: do not rate anything here. Choose “{answer}”.",
      welcomeReview: "Label voices", introReview: "You will hear a speaker and read the words. Decide how the voice sounds, whatever the words are. You can stop at any time: this browser keeps your answers.", cueOf: "How does the voice sound? {cue}", use: "Can this recording be used?", keep: "yes", recording: "no: bad recording", otherWords: "no: other words", offensive: "no: offensive, or a stereotype", cannotTell: "cannot tell",
    },
    zh: {
      welcome: "为回复评分", intro: "你将听到一段用户语音和一段回复。请评价回复是否适合这个声音,而不只是文字内容。可以随时停止:本浏览器会保存你的评分。",
      name: "你的姓名或代号", begin: "开始", save: "保存我的评分", done: "所有问题都已回答。请保存评分并把文件发回。",
      of: "第 {n} 题,共 {all} 题,已答 {done} 题", replyN: "回复 {n}", which: "哪个回复更适合这位说话人?", introMatch: "你将听到两位说话人说同样的话,以及一段回复。请判断这段回复是在回应哪一位。可以随时停止:本浏览器会保存你的回答。", match: "这段回复是在回应哪一位说话人?", neither: "没有区别", voice1: "说话人 1", voice2: "说话人 2", equal: "一样好", a: "回复 1", b: "回复 2",
      content: "内容:是否回应了说话人的话?", cue_awareness: "感知:是否回应了说话人的声音状态?", empathy: "共情:是否体贴、得当?",
      overall: "总体:回复在多大程度上适合这位说话人?", worst: "完全没有", best: "完全做到",
      naturalness: "自然度:回复的声音像真人吗?", code: "你的评分员代号,例如 r1", unknownCode: "本评分表没有评分员“{code}”。请使用分配给你的代号。", consent: "我已阅读以上内容并同意参加。", needConsent: "同意之后才能开始。", pay: "报酬:{pay}", yourself: "关于你(可以不填)", check: "注意力检查:这里不需要评分,请选择“{answer}”。",
      welcomeReview: "为声音标注", introReview: "你将听到一段语音并看到文字。请判断声音听起来如何,不受文字内容影响。可以随时停止:本浏览器会保存你的回答。", cueOf: "声音听起来如何?{cue}", use: "这段录音能用吗?", keep: "能", recording: "不能:录音质量差", otherWords: "不能:与文字不符", offensive: "不能:冒犯或刻板印象", cannotTell: "听不出来",
    },
  };
  for (const tongue of ["en", "zh"]) Object.assign(EChat.words[tongue], WORDS[tongue]);
  const main = document.getElementById("main");
  let sheet = null, rater = "", at = 0, order = [], given = {}, mine = [], yourself = {};

  // A separate shuffle for every rater, the same each time the page is opened.
  function shuffled(count, seed) {
    let state = 2166136261;
    for (const c of seed) state = Math.imul(state ^ c.codePointAt(0), 16777619);
    const random = () => { state = (state + 0x6d2b79f5) | 0; let x = Math.imul(state ^ (state >>> 15), 1 | state); x ^= x + Math.imul(x ^ (x >>> 7), 61 | x); return ((x ^ (x >>> 14)) >>> 0) / 4294967296; };
    const list = Array.from({ length: count }, (_, i) => i);
    for (let i = count - 1; i > 0; i -= 1) { const j = Math.floor(random() * (i + 1)); [list[i], list[j]] = [list[j], list[i]]; }
    return list;
  }

  const slot = () => `ratings ${sheet.id} ${rater}`;
  const grades = () => sheet.dimensions.map((d) => d.name);
  const asked = (item) => (item.check ? [item.check[0]] : sheet.review ? [...Object.keys(item.cues), "use"] : sheet.match ? ["match", ...grades()] : sheet.dimensions.length ? grades() : ["preference"]);
  const answered = (item) => asked(item).every((name) => given[`${item.name} ${name}`] !== undefined);
  const count = () => mine.filter(answered).length;

  function give(item, dimension, value) {
    given[`${item.name} ${dimension}`] = value;
    EChat.remember(slot(), JSON.stringify(given));
    draw(dimension);
  }

  function save() {
    const ratings = mine.flatMap((item) => asked(item).filter((d) => given[`${item.name} ${d}`] !== undefined)
      .map((dimension) => ({ item: item.name, dimension, value: given[`${item.name} ${dimension}`] })));
    const facts = { ...(sheet.consent ? { consented: true } : {}), ...(sheet.demographics ? { demographics: yourself } : {}) };
    const text = JSON.stringify({ sheet: sheet.id, rater, ...facts, ratings }, null, 1);
    const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    const link = h("a", { href: url, download: `ratings-${rater.replace(/[^\p{L}\p{N}_-]+/gu, "-")}.json` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  function choices(item, dimension, title, options, ends) {
    return h("fieldset", { "data-dimension": dimension }, h("legend", {}, title), h("div", { class: "scale" }, options.map(([value, text]) =>
      h("label", {}, h("input", { type: "radio", name: dimension, value, checked: given[`${item.name} ${dimension}`] === value, onchange: () => give(item, dimension, value) }), h("span", {}, text)))), ends);
  }

  const USES = [["keep", "keep"], ["recording", "recording"], ["words", "otherWords"], ["offensive", "offensive"]];

  function question(item, name) {
    if (sheet.review && name === "use") return choices(item, name, t("use"), USES.map(([value, word]) => [value, t(word)]));
    if (sheet.review) return choices(item, name, t("cueOf", { cue: name.replaceAll("_", " ") }), [...item.cues[name], ["cannot tell", t("cannotTell")]]);
    if (name === "match") return choices(item, name, t(name), [["a", t("voice1")], ["equal", t("neither")], ["b", t("voice2")]]);
    if (name === "preference") return choices(item, name, t("which"), [["a", t("a")], ["equal", t("equal")], ["b", t("b")]]);
    const d = sheet.dimensions.find((found) => found.name === name);
    return choices(item, name, t(name), Array.from({ length: d.high - d.low + 1 }, (_, i) => [d.low + i, String(d.low + i)]),
      h("p", { class: "ends quiet" }, h("span", {}, `${d.low}: ${t("worst")}`), h("span", {}, `${d.high}: ${t("best")}`)));
  }

  // A question that states its answer: nothing to hear.
  function stated(item) {
    const [name, value] = item.check;
    const words = { match: { a: "voice1", equal: "neither", b: "voice2" }, preference: { a: "a", equal: "equal", b: "b" } }[name];
    return h("section", { class: "sheet heard" }, h("p", { class: "prose", id: "stated" }, t("check", { answer: words ? t(words[value]) : String(value) })));
  }

  function sounds(item) {
    return h("section", { class: "sheet heard" },
      h("blockquote", { class: "said", lang: item.language, dir: "auto" }, h("p", {}, item.words)),
      sheet.match ? item.voices.map((voice, n) => h("article", { class: "card" }, h("h2", {}, t(`voice${n + 1}`)), EChat.player(voice, t(`voice${n + 1}`), `voice-${n + 1}`))) : EChat.player(item.audio, t("query"), "query"),
      item.replies.map((reply, n) => h("article", { class: "card" }, h("h2", {}, item.replies.length > 1 ? t("replyN", { n: n + 1 }) : t("reply")),
        EChat.player(reply.audio, t("replyN", { n: n + 1 }), `reply-${n + 1}`), reply.text ? h("p", { class: "prose", lang: item.language, dir: "auto" }, reply.text) : null)));
  }

  function draw(focused) {
    EChat.silence();
    const item = mine[order[at]];
    const move = (by) => { at = Math.min(order.length - 1, Math.max(0, at + by)); draw(); main.focus(); };
    const kept = focused ? main.querySelector(".heard") : null;
    const heard = kept || (item.check ? stated(item) : sounds(item));
    if (!kept) heard.style.padding = "0";
    main.replaceChildren(h("div", { class: "sheet" }, h("h1", {}, t(sheet.review ? "welcomeReview" : "welcome")),
      h("p", { class: "quiet", id: "where" }, t("of", { n: at + 1, all: order.length, done: count() })),
      h("progress", { max: order.length, value: count(), "aria-labelledby": "where" }),
      heard, asked(item).map((name) => question(item, name)),
      h("div", { class: "move" }, h("button", { type: "button", onclick: () => move(-1), disabled: at === 0 }, `‹ ${t("previous")}`),
        h("button", { type: "button", class: "main", id: "next", onclick: () => move(1), disabled: at === order.length - 1 }, `${t("next")} ›`),
        h("button", { type: "button", id: "save", onclick: save }, t("save"))),
      count() === order.length ? h("p", { role: "status" }, t("done")) : null));
    const chosen = focused && main.querySelector(`input[name="${focused}"]:checked`);
    if (chosen) chosen.focus();
  }

  function begin(name) {
    rater = name.trim();
    EChat.remember("rater", rater);
    const own = sheet.raters ? new Set(sheet.raters[rater]) : null;
    mine = own ? sheet.items.filter((item) => own.has(item.name)) : sheet.items;
    try { given = JSON.parse(EChat.recall(slot())) || {}; } catch { given = {}; }
    order = shuffled(mine.length, `${sheet.id} ${rater}`);
    const open = order.findIndex((n) => !answered(mine[n]));
    at = open < 0 ? order.length - 1 : open;
    draw();
  }

  function welcome() {
    const box = h("input", { type: "text", id: "rater", autocomplete: "off", maxlength: 80, value: EChat.recall("rater") || "" });
    const agree = sheet.consent ? h("input", { type: "checkbox", id: "agree" }) : null;
    const message = h("p", { role: "alert", id: "problem" });
    const fields = (sheet.demographics || []).map((name) => h("input", { type: "text", id: `yourself-${name}`, "data-name": name, autocomplete: "off", maxlength: 80, value: yourself[name] || "" }));
    const start = () => {
      const code = box.value.trim();
      if (!code) return;
      if (sheet.raters && !Object.hasOwn(sheet.raters, code)) { message.textContent = t("unknownCode", { code }); return; }
      if (agree && !agree.checked) { message.textContent = t("needConsent"); return; }
      yourself = Object.fromEntries(fields.map((field) => [field.dataset.name, field.value.trim()]).filter(([, value]) => value));
      begin(code);
    };
    box.addEventListener("keydown", (event) => { if (event.key === "Enter") start(); });
    main.replaceChildren(h("div", { class: "sheet" }, h("h1", {}, t(sheet.review ? "welcomeReview" : "welcome")), h("p", {}, t(sheet.review ? "introReview" : sheet.match ? "introMatch" : "intro")),
      sheet.consent ? h("section", { class: "card", id: "consent" }, sheet.consent.split(/\n\s*\n/).map((part) => h("p", { class: "prose", dir: "auto" }, part))) : null,
      sheet.pay ? h("p", { id: "pay" }, t("pay", { pay: sheet.pay })) : null,
      agree ? h("label", { for: "agree", class: "agree" }, agree, h("span", {}, t("consent"))) : null,
      h("label", { for: "rater" }, t(sheet.raters ? "code" : "name")), box,
      fields.length ? h("fieldset", {}, h("legend", {}, t("yourself")), fields.map((field) => h("div", {}, h("label", { for: field.id }, field.dataset.name.replaceAll("_", " ")), field))) : null,
      message, h("div", {}, h("button", { type: "button", class: "primary", id: "begin", onclick: start }, t("begin")))));
  }

  function frame() {
    document.documentElement.lang = EChat.tongue === "zh" ? "zh-CN" : "en";
    document.title = t(sheet.review ? "welcomeReview" : "welcome");
    const turn = () => { EChat.tongue = EChat.tongue === "en" ? "zh" : "en"; EChat.remember("language", EChat.tongue); frame(); if (rater) draw(); else welcome(); };
    document.getElementById("tools").replaceChildren(h("button", { type: "button", id: "language", "aria-label": t("languageName"), onclick: turn }, t("language")));
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=text]") || !rater) return;
    const press = (name) => { const p = document.querySelector(`.player[data-slot="${name}"]`); if (p) p.toggle(); };
    if (event.key === "q") press(sheet.match ? "voice-1" : "query");
    else if (event.key === "w" && sheet.match) press("voice-2");
    else if (event.key === "r") press("reply-1");
    else if (event.key === "t") press("reply-2");
    else if (event.key === "n" && at < order.length - 1) { at += 1; draw(); }
    else if (event.key === "p" && at > 0) { at -= 1; draw(); }
  });

  EChat.when("sheet").then((value) => { sheet = value; frame(); welcome(); });
})();
