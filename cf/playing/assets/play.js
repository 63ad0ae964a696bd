"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, attributes = {}, text = "") => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text) made.textContent = text; // never HTML: texts are strangers'
    return made;
  };
  const query = new URLSearchParams(location.search);
  const token = query.get("token") || "";
  const MOST_KEPT = 6000, MOST_BITMAPS = 400, MOST_ASKED = 64, TOLD_EVERY = 300;
  const LETTERS = { ahead: "W", left: "A", back: "S", right: "D" };
  const CODES = {
    KeyW: "ahead", ArrowUp: "ahead", KeyA: "left", ArrowLeft: "left",
    KeyS: "back", ArrowDown: "back", KeyD: "right", ArrowRight: "right",
  };

  // What is known of the network, the session and the page.
  let about = null, socket = null, seat = sessionStorage.getItem("cf-seat") || "", greeted = false;
  let names = [], memories = [], total = 0, shown = -1, running = false, ended = "", back = null;
  let queue = [], lastDrawn = 0, lastTold = 0, drawnTimes = [], kept = new Map(), bitmaps = new Map(), asked = new Set();
  let recall = {}, held = {}, lanes = {};
  let pressed = new Map(), keyNumber = 0, keyTimes = new Map(), heardShown = 0, latencies = [];
  let retry = 0, timer = 0;

  // ---- The socket -------------------------------------------------------------------------
  const connect = (take = false) => {
    clearTimeout(timer);
    const given = new URLSearchParams();
    if (token) given.set("token", token);
    if (seat) given.set("seat", seat);
    if (take) given.set("take", "1");
    const where = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket?${given}`;
    socket = new WebSocket(where);
    socket.binaryType = "arraybuffer";
    const mine = socket;
    greeted = false;
    state("wait", "Connecting");
    mine.addEventListener("message", (event) => {
      if (mine !== socket) return;
      if (typeof event.data === "string") hear(JSON.parse(event.data));
      else receive(event.data);
    });
    mine.addEventListener("close", (event) => { if (mine === socket) lost(event.code); });
  };
  const tell = (what, values = {}) => {
    if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ do: what, ...values }));
  };
  const lost = (code) => {
    setRunning(false, false);
    queue = [];
    for (const id of ["play", "save"]) $(id).disabled = true;
    state("lost", "Not connected");
    if (code === 4001) return notice("Another page took this session over.", "Take it back", () => connect(true));
    if (code === 4002) return notice("Another page plays here. A server started with sessions=2 has room for two.", "Take over", () => connect(true));
    if (code === 4003) return notice("The server did not understand this page. Load it again.", "Load again", () => location.reload());
    if (code === 4004) return notice("The server does not let this page in: open the whole address that cf.play printed.");
    const saved = about ? ` What was played is in ${about.folder}, as session.json.` : "";
    notice(`The server does not answer: it ended, or was ended. Start it again; this page comes back by itself.${saved}`, "Try now", () => connect());
    retry = Math.min(retry + 1, 6);
    timer = setTimeout(connect, 500 * 2 ** retry);
  };
  const notice = (text, action = "", act = null) => {
    $("notice").hidden = !text;
    $("notice-text").textContent = text;
    $("notice-button").hidden = !act;
    $("notice-button").textContent = action;
    $("notice-button").onclick = act;
  };
  const state = (kind, text) => {
    document.body.dataset.state = kind;
    if ($("state-text").textContent !== text) $("state-text").textContent = text;
  };

  const hear = (told) => {
    if (told.about) greet(told);
    if (told.begun) began(told.begun);
    if (told.fault) { notice(told.fault, "Close", () => notice("")); setRunning(false, false); }
    if (told.ended) { ended = told.ended; notice(ended, "Close", () => notice("")); }
    if (told.saved) showSaved(told.saved);
  };
  const greet = (told) => {
    retry = 0;
    const restarted = about !== null && seat !== told.seat;
    about = told.about;
    greeted = true;
    seat = told.seat;
    sessionStorage.setItem("cf-seat", seat);
    notice(restarted ? `The server was started anew. The session before it is in its folder, as session.json.` : "");
    $("network").textContent = `${about.network} · ${about.size[1]} × ${about.size[0]} pixels, ${about.fps} frames/s`;
    fill($("memory-a"), about.memories);
    fill($("memory-b"), ["", ...about.memories], "none");
    fill($("switch"), about.switches);
    $("pad-part").hidden = !Object.keys(about.keys).length;
    for (const button of document.querySelectorAll("#pad button")) {
      const what = about.keys[button.dataset.key] || "";
      button.disabled = !what;
      button.setAttribute("aria-label", `${LETTERS[button.dataset.key]}: ${what}`);
      button.title = what;
    }
    $("say-part").hidden = $("text-part").hidden = !about.text;
    $("number-part").hidden = $("recall-part").hidden = !about.truth;
    $("picture-part").hidden = !about.picture;
    document.body.classList.toggle("small", about.size[1] <= 160);
    state("live", "Ready");
    if (told.back) { began(told.back.begin, told.back); return; }
    const wish = about.defaults;
    [$("memory-a").value, $("memory-b").value] = [wish.memories[0] || "own", wish.memories[1] || ""];
    [$("number").value, $("seed").value, $("text").value] = [wish.number, wish.seed, wish.text];
    if (about.text && !wish.text && !about.truth) state("live", "Ready: type a text and begin");
    else if (!about.needs_picture) begin();
  };
  const fill = (list, options, empty = "") => {
    const before = list.value;
    list.replaceChildren(...options.map((one) => {
      const made = make("option", { value: one });
      made.textContent = one === "own" ? "as trained" : one || empty;
      return made;
    }));
    if (options.includes(before)) list.value = before;
    else if (options.includes("recache")) list.value = "recache";
  };

  // ---- A session --------------------------------------------------------------------------
  const begin = async () => {
    const chosen = [$("memory-a").value, $("memory-b").value].filter((one, i, all) => one && all.indexOf(one) === i);
    const file = about.picture && $("picture").files[0];
    let picture = null;
    if (file) {
      try { picture = await fitted(file); } catch { notice("This picture cannot be read.", "Close", () => notice("")); return; }
    }
    tell("begin", {
      memories: chosen, seed: Number($("seed").value), number: Number($("number").value),
      text: about.text ? $("text").value : "", picture: Boolean(picture),
    });
    if (picture) socket.send(picture);
  };
  // Scaled to cover the video and cut in the middle, as cf.generate does with image=...
  const fitted = async (file) => {
    const [height, width] = about.size, image = await createImageBitmap(file);
    const canvas = make("canvas");
    [canvas.width, canvas.height] = [width, height];
    const scale = Math.max(width / image.width, height / image.height);
    const [w, h] = [image.width * scale, image.height * scale];
    const pen = canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    pen.drawImage(image, (width - w) / 2, (height - h) / 2, w, h);
    return new Promise((done) => canvas.toBlob(done, "image/png"));
  };
  const began = (told, history = null) => {
    [names, memories, total, shown, ended] = [told.names, told.memories, 0, -1, ""];
    queue = [];
    [kept, bitmaps, asked, recall, held] = [new Map(), new Map(), new Set(), {}, {}];
    [$("memory-a").value, $("memory-b").value] = [memories[0], memories[1] || ""];
    [$("number").value, $("seed").value] = [told.number, told.seed];
    if (told.text) $("text").value = told.text;
    $("texts").replaceChildren();
    lanes = {};
    $("stage").replaceChildren(...names.map((name) => {
      const lane = memories.indexOf(name), truth = name === about.truth;
      const figure = make("figure", { "data-lane": truth ? "truth" : lane });
      const label = truth ? "the world itself" : name === "own" ? "as trained" : name;
      const screen = make("canvas", { class: "screen", role: "img", "aria-label": truth ? label : `memory: ${label}` });
      [screen.width, screen.height] = [about.size[1], about.size[0]];
      const caption = make("figcaption"), value = make("span");
      caption.append(make("b", {}, label), value);
      figure.append(screen, caption);
      const strip = make("canvas", { class: "strip", role: "img", "aria-label": "What it holds: nothing yet" });
      const count = make("p", { class: "strip-told" });
      if (!truth) figure.append(strip, count);
      lanes[name] = { screen, value, strip, count, truth };
      return figure;
    }));
    $("stage").dataset.count = names.length;
    legend();
    for (const id of ["play", "save", "seek"]) $(id).disabled = false;
    goLive(false);
    if (history) {
      [recall, held, total] = [history.recall, history.held, history.frames];
      ended = history.ended;
      if (ended) notice(ended, "Close", () => notice(""));
      seekTo(total - 1);
      strips();
      chart();
      setRunning(false, true);
    } else {
      notice("");
      setRunning(true, false);
    }
    steps();
  };
  const setRunning = (on, telling = true) => {
    running = on;
    $("play").textContent = on ? "Pause" : "Play";
    if (telling) tell("run", { on });
    if (greeted) state("live", on ? "Playing" : ended ? "Ended" : names.length ? "Paused" : "Ready");
    if (!on) release();
    if (!on && names.length) { strips(); chart(); }
  };

  // ---- Frames -----------------------------------------------------------------------------
  const receive = (data) => {
    const length = new DataView(data).getUint32(0, true);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    let at = 4 + length;
    const blobs = head.sizes.map((size) => {
      const bytes = new Uint8Array(data, at, size);
      at += size;
      return new Blob([bytes], { type: bytes[0] === 0x89 ? "image/png" : "image/jpeg" });
    });
    const frames = head.again || Array.from({ length: head.count }, (_, i) => head.first + i);
    frames.forEach((frame, i) => keep(frame, head.names, blobs.slice(i * head.names.length, (i + 1) * head.names.length)));
    if (head.again) {
      for (const frame of frames) asked.delete(frame);
      if (back !== null && frames.includes(back)) draw(back);
      strips();
      return;
    }
    total = head.first + head.count;
    for (const [name, values] of Object.entries(head.recall)) (recall[name] ||= []).push(...values);
    held = head.held;
    frames.forEach((frame, i) => queue.push({ frame, heard: head.heard || 0, first: i === 0, last: i === frames.length - 1, ms: head.milliseconds }));
    steps();
  };
  const keep = (frame, order, blobs) => {
    kept.set(frame, Object.fromEntries(order.map((name, i) => [name, blobs[i]])));
    if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
  };
  const bitmap = async (name, frame) => {
    const key = `${frame} ${name}`;
    if (bitmaps.has(key)) {
      const there = bitmaps.get(key); // used again: the last to go
      bitmaps.delete(key);
      bitmaps.set(key, there);
      return there;
    }
    const blob = kept.get(frame)?.[name];
    if (!blob) return null;
    const made = await createImageBitmap(blob);
    bitmaps.set(key, made);
    // Not closed: a strip that is being drawn may hold it still.
    if (bitmaps.size > MOST_BITMAPS) bitmaps.delete(bitmaps.keys().next().value);
    return made;
  };
  const want = (frames) => {
    const missing = frames.filter((one) => !kept.has(one) && !asked.has(one)).slice(0, MOST_ASKED);
    if (!missing.length) return;
    missing.forEach((one) => asked.add(one));
    tell("frames", { wanted: missing });
  };
  const draw = async (frame) => {
    shown = frame;
    for (const [name, lane] of Object.entries(lanes)) {
      const picture = await bitmap(name, frame);
      if (!picture || shown !== frame) continue;
      lane.screen.getContext("2d").drawImage(picture, 0, 0);
      const found = recall[name]?.[frame];
      lane.value.textContent = found ? `recall ${found[0].toFixed(2)} after ${found[1].toFixed(1)} s` : "";
    }
    $("seek").max = String(Math.max(total - 1, 0));
    $("seek").value = String(frame);
    const seconds = `${(frame / about.fps).toFixed(1)} s`;
    $("clock").textContent = seconds;
    $("seek").setAttribute("aria-valuetext", seconds);
  };
  // One frame whenever it is due; at once where a key was heard in a block that waits behind it.
  const tick = (now) => {
    if (queue.length && back === null && (running || queue.length)) {
      const answered = queue[queue.length - 1].heard > heardShown;
      const due = answered ? 0 : 1000 / about.fps;
      if (now - lastDrawn >= due - 4) {
        const one = queue.shift();
        lastDrawn = now - lastDrawn > 2 * due ? now : Math.max(lastDrawn + due, now - due);
        draw(one.frame).then(() => measured(one));
        if (one.first) tell("seen", { frame: one.frame });
        // Blocks may be single frames: what stands below the pictures need not move with each.
        if (one.last && now - lastTold >= TOLD_EVERY) { lastTold = now; strips(); chart(); }
      }
    }
    requestAnimationFrame(tick);
  };
  const measured = (one) => {
    const now = performance.now();
    drawnTimes.push(now);
    while (drawnTimes.length > 2 && now - drawnTimes[0] > 3000) drawnTimes.shift();
    if (one.heard > heardShown) {
      const at = keyTimes.get(one.heard);
      heardShown = one.heard;
      for (const number of [...keyTimes.keys()]) if (number <= heardShown) keyTimes.delete(number);
      if (at) latencies.push(now - at);
    }
    const rate = drawnTimes.length > 2 ? (1000 * (drawnTimes.length - 1)) / (now - drawnTimes[0]) : 0;
    const delay = latencies.length ? `, key to picture ${Math.round(latencies[latencies.length - 1])} ms` : "";
    if (one.last && rate) $("pace").textContent = `${rate.toFixed(1)} frames/s shown, a block takes ${Math.round(one.ms || 0)} ms${delay}`;
  };

  // ---- What a memory holds, and what comes back -------------------------------------------
  const strips = async () => {
    for (const [name, lane] of Object.entries(lanes)) {
      const told = held[name];
      if (lane.truth || !told) continue;
      want(told.frames);
      const [height, width] = about.size, columns = Math.max(Math.min(told.frames.length, 16), 8);
      const rows = Math.max(Math.ceil(told.frames.length / columns), 1), gap = 2;
      const across = Math.min(width, 96), down = Math.round((across * height) / width);
      const pictures = await Promise.all(told.frames.map((one) => bitmap(name, one)));
      if (lanes[name] !== lane) continue;
      const wide = columns * (across + gap) - gap, high = rows * (down + gap) - gap;
      if (lane.strip.width !== wide || lane.strip.height !== high) [lane.strip.width, lane.strip.height] = [wide, high];
      const pen = lane.strip.getContext("2d");
      pen.clearRect(0, 0, wide, high);
      pictures.forEach((picture, i) => {
        if (picture) pen.drawImage(picture, (i % columns) * (across + gap), Math.floor(i / columns) * (down + gap), across, down);
      });
      const first = told.frames.length ? ` from ${(told.frames[0] / about.fps).toFixed(1)} s to ${(told.frames[told.frames.length - 1] / about.fps).toFixed(1)} s` : "";
      const more = told.count > told.frames.length ? `, ${told.frames.length} of them shown` : "";
      lane.count.textContent = `holds ${told.count} frames${first}${more}`;
      lane.strip.setAttribute("aria-label", `What it holds: ${told.count} frames${first}`);
    }
  };
  const svg = (tag, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text) made.textContent = text;
    return made;
  };
  const chart = () => {
    if (!about.truth) return;
    const [left, right, top, base, lags] = [56, 632, 16, 144, 204], end = Math.max(total, 1);
    const x = (frame) => left + ((right - left) * frame) / end, y = (share) => base - (base - top) * share;
    const parts = [], heard = [];
    for (const share of [0, 0.5, 1]) {
      parts.push(svg("line", { class: "axis", x1: left, x2: right, y1: y(share), y2: y(share) }));
      parts.push(svg("text", { x: left - 6, y: y(share) + 6, "text-anchor": "end" }, String(share)));
    }
    const first = recall[memories[0]] || [], longest = Math.max(1, ...first.map((one) => (one ? one[1] : 0)));
    let bars = "";
    first.forEach((one, i) => { if (one) bars += `M${x(i).toFixed(1)} ${lags}h${Math.max(x(1) - x(0), 0.6).toFixed(2)}v${((-44 * one[1]) / longest).toFixed(1)}h${(-Math.max(x(1) - x(0), 0.6)).toFixed(2)}z`; });
    parts.push(svg("path", { class: "lag", d: bars }));
    parts.push(svg("text", { x: left - 6, y: lags, "text-anchor": "end" }, "0"));
    parts.push(svg("text", { x: left - 6, y: lags - 40, "text-anchor": "end" }, `${longest.toFixed(0)} s`));
    parts.push(svg("text", { x: right, y: lags + 22, "text-anchor": "end" }, `${(total / about.fps).toFixed(0)} s of video`));
    memories.forEach((name, lane) => {
      const values = recall[name] || [];
      let path = "", before = false, sum = 0, count = 0;
      values.forEach((one, i) => {
        if (one) { path += `${before ? "L" : "M"}${x(i + 0.5).toFixed(1)} ${y(one[0]).toFixed(1)}${before ? "" : "h.1"}`; sum += one[0]; count += 1; }
        before = Boolean(one);
      });
      parts.push(svg("path", { class: `curve lane${lane}`, d: path }));
      const mean = count ? `${(sum / count).toFixed(2)} over ${count} frames` : "nothing has come back yet";
      heard.push(`${name}: ${mean}`);
      const row = $("legend").children[lane];
      if (row) row.lastChild.textContent = `${name === "own" ? "as trained" : name}: ${mean}`;
    });
    $("chart").replaceChildren(...parts);
    $("chart").setAttribute("aria-label", `Recall. ${heard.join("; ")}`);
  };
  const legend = () => {
    $("legend").replaceChildren(...memories.map(() => { const row = make("li"); row.append(make("i"), make("span")); return row; }));
    if (about.truth) chart();
  };

  // ---- Keys and the pad -------------------------------------------------------------------
  const heldKeys = () => [...new Set(pressed.values())];
  const sendKeys = (tapped = []) => {
    if (!about || !Object.keys(about.keys).length) return;
    keyNumber += 1;
    if (tapped.length) keyTimes.set(keyNumber, performance.now());
    tell("keys", { held: heldKeys(), tapped, at: keyNumber });
    for (const button of document.querySelectorAll("#pad button")) button.setAttribute("aria-pressed", String(heldKeys().includes(button.dataset.key)));
  };
  const press = (from, key) => {
    if (pressed.get(from) === key || !names.length) return;
    pressed.set(from, key);
    if (back !== null) goLive();
    if (!running && !ended && greeted) setRunning(true);
    sendKeys([key]);
  };
  const letGo = (from) => { if (pressed.delete(from)) sendKeys(); };
  const release = () => { if (pressed.size) { pressed.clear(); sendKeys(); } };
  const typing = (target) => target.closest("input, textarea, select") !== null;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    const key = CODES[event.code];
    if (key && about?.keys[key]) { event.preventDefault(); if (!event.repeat) press(event.code, key); }
    if (event.code === "Space" && !event.target.closest("button, a, summary") && !$("play").disabled) { event.preventDefault(); $("play").click(); }
  });
  document.addEventListener("keyup", (event) => letGo(event.code));
  window.addEventListener("blur", release);
  for (const button of document.querySelectorAll("#pad button")) {
    const key = button.dataset.key;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("pointerdown", (event) => { event.preventDefault(); if (!button.disabled) { button.setPointerCapture(event.pointerId); press(`pointer ${event.pointerId}`, key); } });
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) button.addEventListener(name, (event) => letGo(`pointer ${event.pointerId}`));
    button.addEventListener("contextmenu", (event) => event.preventDefault());
    button.addEventListener("keydown", (event) => { if (event.code === "Enter" || event.code === "Space") { event.preventDefault(); if (!event.repeat) press(`button ${key}`, key); } });
    button.addEventListener("keyup", (event) => { if (event.code === "Enter" || event.code === "Space") letGo(`button ${key}`); });
    button.addEventListener("blur", () => letGo(`button ${key}`));
  }

  // ---- Controls ---------------------------------------------------------------------------
  const steps = () => { $("seek").max = String(Math.max(total - 1, 0)); };
  const seekTo = (frame) => {
    back = Math.max(0, Math.min(frame, total - 1));
    $("live").hidden = back === total - 1;
    want([back, back + 1, back + 2, back + 3].filter((one) => one < total));
    draw(back);
  };
  const goLive = (drawing = true) => {
    back = null;
    $("live").hidden = true;
    if (drawing && total && !queue.length) draw(total - 1);
  };
  $("seek").addEventListener("input", () => { if (running) setRunning(false); seekTo(Number($("seek").value)); });
  $("live").addEventListener("click", () => { goLive(); setRunning(true); });
  $("play").addEventListener("click", () => { if (!running && back !== null) goLive(); if (!ended || running) setRunning(!running); });
  $("save").addEventListener("click", () => { $("save").disabled = true; tell("save"); setTimeout(() => { $("save").disabled = !names.length; }, 1500); });
  $("begin-form").addEventListener("submit", (event) => { event.preventDefault(); begin(); });
  $("say-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const text = $("say").value.trim();
    if (!text) return;
    tell("say", { text, switch: $("switch").value });
    $("texts").append(make("li", {}, `${(total / about.fps).toFixed(1)} s, ${$("switch").value}: ${text}`));
    $("say").value = "";
    if (!running && !ended) setRunning(true);
  });
  document.addEventListener("visibilitychange", () => { if (document.hidden && running) setRunning(false); });
  const showSaved = (told) => {
    $("saved-part").hidden = false;
    $("saved-folder").textContent = told.folder;
    $("saved").replaceChildren(...told.files.map((name) => {
      const row = make("li");
      const path = `saved/${encodeURIComponent(seat)}/${name.split("/").map(encodeURIComponent).join("/")}`;
      row.append(make("a", { href: token ? `${path}?token=${encodeURIComponent(token)}` : path, download: name.split("/").pop() }, name.split("/").pop()));
      return row;
    }));
    $("replay").textContent = `python -m cf.generate script='${told.folder}/session.json'`;
  };
  requestAnimationFrame(tick);
  connect();
  // For tests, and for whoever wants to know how fast it is.
  window.cfPlay = { latencies, state: () => ({ total, shown, running, back, queue: queue.length, names, held, recall, kept: kept.size, rate: drawnTimes.length > 2 ? (1000 * (drawnTimes.length - 1)) / (drawnTimes[drawnTimes.length - 1] - drawnTimes[0]) : 0 }) };
})();
