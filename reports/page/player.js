"use strict";
// Audio player: a button, a waveform outline with the position, and a clock. One sound plays at a time.
(() => {
  const { h, t } = EChat;
  const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_";
  let playing = null;

  function clock(seconds) {
    const whole = Math.max(0, seconds || 0);
    if (whole < 60) return t("seconds", { s: whole.toFixed(1) });
    return `${Math.floor(whole / 60)}:${String(Math.floor(whole % 60)).padStart(2, "0")}`;
  }

  function outlineOf(digits) {
    const shape = h("svg:svg", { class: "wave", viewBox: `0 0 ${Math.max(1, digits.length)} 64`,
                                 preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" });
    let path = "";
    for (let i = 0; i < digits.length; i += 1) {
      // The square root of the amplitude keeps quiet speech visible.
      const half = Math.max(1, 32 * Math.sqrt(DIGITS.indexOf(digits[i]) / 63));
      path += `M${i + 0.5} ${32 - half}V${32 + half}`;
    }
    shape.append(h("svg:path", { class: "rest", d: path }), h("svg:path", { class: "done", d: path }));
    return shape;
  }

  // sound: {file, seconds, outline}; name: label for screen readers.
  EChat.player = (sound, name, slot) => {
    if (!sound) return null;
    if (!sound.file) return h("p", { class: "quiet" }, t(sound.withheld ? "audioWithheld" : "audioGone"));
    const audio = new Audio();
    audio.preload = "none";
    const wave = outlineOf(sound.outline);
    const done = wave.lastChild;
    const button = h("button", { type: "button", class: "play", "aria-label": `${t("play")}: ${name}` }, "▶");
    const position = h("input", { type: "range", min: 0, max: sound.seconds, step: 0.01, value: 0,
                                  "aria-label": `${t("seek")}: ${name}` });
    const time = h("span", { class: "time" }, clock(sound.seconds));
    const fault = h("span", { class: "fault", role: "alert" });
    const element = h("div", { class: "player", "data-slot": slot, "data-playing": "no" },
      button, h("div", { class: "track" }, wave, position), time, fault);

    function draw() {
      const share = sound.seconds ? Math.min(1, audio.currentTime / sound.seconds) : 0;
      done.style.clipPath = `inset(0 ${100 - share * 100}% 0 0)`;
      position.value = audio.currentTime;
      position.setAttribute("aria-valuetext", `${clock(audio.currentTime)} / ${clock(sound.seconds)}`);
      time.textContent = audio.paused && !audio.currentTime ? clock(sound.seconds) : clock(audio.currentTime);
    }

    function mark(state) {
      element.dataset.playing = state ? "yes" : "no";
      button.textContent = state ? "❚❚" : "▶";
      button.setAttribute("aria-label", `${t(state ? "pause" : "play")}: ${name}`);
    }

    function toggle() {
      if (!audio.src) audio.src = sound.file;
      if (!audio.paused) { audio.pause(); return; }
      if (playing && playing !== audio) playing.pause();
      playing = audio;
      audio.play().catch((error) => { if (error.name !== "AbortError") fault.textContent = t("cannotPlay"); });
    }

    audio.addEventListener("play", () => mark(true));
    audio.addEventListener("pause", () => mark(false));
    audio.addEventListener("ended", () => { audio.currentTime = 0; mark(false); draw(); });
    audio.addEventListener("timeupdate", draw);
    audio.addEventListener("error", () => { if (audio.src) fault.textContent = t("cannotPlay"); });
    button.addEventListener("click", toggle);
    position.addEventListener("input", () => {
      const wanted = Number(position.value);
      if (!audio.src) { audio.src = sound.file; audio.preload = "auto"; }
      if (audio.readyState > 0) audio.currentTime = wanted;
      else audio.addEventListener("loadedmetadata", () => { audio.currentTime = wanted; }, { once: true });
    });
    element.toggle = toggle;
    draw();
    return element;
  };

  EChat.silence = () => { if (playing) playing.pause(); playing = null; };
})();
