"use strict";
// Shared functions: loading data, building elements, formatting numbers and links.
// Data never becomes markup: there is no innerHTML on this page.
const EChat = (() => {
  const arrived = new Map();
  const waiting = new Map();

  // Names of data are keys of objects: a system named "constructor" must not find what every object inherits.
  function bare(value) {
    if (!Array.isArray(value)) Object.setPrototypeOf(value, null);
    for (const inner of Object.values(value)) if (inner !== null && typeof inner === "object") bare(inner);
    return value;
  }

  function receive(name, text) {
    const [value] = bare([JSON.parse(text)]);
    arrived.set(name, value);
    for (const settle of waiting.get(name) || []) settle.resolve(value);
    waiting.delete(name);
  }

  function when(name) {
    if (arrived.has(name)) return Promise.resolve(arrived.get(name));
    return new Promise((resolve, reject) => {
      if (!waiting.has(name)) waiting.set(name, []);
      waiting.get(name).push({ resolve, reject });
    });
  }

  // Only a script element can read another file from disk.
  function load(name) {
    const asked = waiting.has(name);
    const promise = when(name);
    if (!arrived.has(name) && !asked) {
      const script = document.createElement("script");
      script.src = `data/${name}.js`;
      script.onerror = () => {
        for (const settle of waiting.get(name) || []) settle.reject(new Error(script.src));
        waiting.delete(name);
      };
      document.head.append(script);
    }
    return promise;
  }

  async function detail(number) {
    const size = arrived.get("board").shard;
    const rows = await load(`shard-${Math.floor(number / size)}`);
    return rows[number % size];
  }

  // h("p", {class: "x", onclick: f}, "text", child, null, [more])
  function h(tag, attributes, ...children) {
    const element = tag.startsWith("svg:")
      ? document.createElementNS("http://www.w3.org/2000/svg", tag.slice(4))
      : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : String(value));
    }
    element.append(...children.flat(3).filter((c) => c !== null && c !== undefined && c !== false));
    return element;
  }

  function number(value, digits) {
    if (value === null || value === undefined) return "–";
    // toFixed rounds an exact half up; the tables round it to the even digit.
    const exact = value.toFixed(30);
    const cut = exact.indexOf(".") + digits + (digits ? 1 : 0);
    const half = /^\.?50*$/.test(exact.slice(cut));
    const even = /[02468]$/.test(exact.slice(0, cut));
    const text = half && even ? exact.slice(0, cut) : value.toFixed(digits);
    return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
  }

  function remember(name, value) {
    try { localStorage.setItem(`echat-eval ${name}`, value); } catch { /* storage is not available in a private window */ }
  }

  function recall(name) {
    try { return localStorage.getItem(`echat-eval ${name}`); } catch { return null; }
  }

  // "#/samples?task=emotion" -> {path: ["samples"], query}
  function place() {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?", 2);
    const parts = path.split("/").filter(Boolean).map((part) => {
      try { return decodeURIComponent(part); } catch { return part; }
    });
    return { path: parts, query: new URLSearchParams(query || "") };
  }

  function link(parts, query) {
    const tail = new URLSearchParams([...(query || [])].filter(([, value]) => value));
    const text = tail.toString();
    return "#/" + parts.map(encodeURIComponent).join("/") + (text ? "?" + text : "");
  }

  function go(hash, replace) {
    if (replace) { history.replaceState(null, "", hash); window.dispatchEvent(new HashChangeEvent("hashchange")); }
    else location.hash = hash;
  }

  function say(text) { document.getElementById("status").textContent = text; }

  // Set before the first paint to avoid a flash.
  const theme = recall("theme");
  if (theme) document.documentElement.dataset.theme = theme;

  return { bare, receive, when, load, detail, h, number, remember, recall, place, link, go, say,
           get board() { return arrived.get("board"); }, get index() { return arrived.get("index"); } };
})();
