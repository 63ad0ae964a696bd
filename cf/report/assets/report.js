"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];

  // Tables: a click on a heading sorts by it, a second one turns the order; what has no value is last.
  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const sign = falling ? -1 : 1;
      const body = table.tBodies[0];
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
      const compare = (one, other) => {
        const [a, b] = [key(one), key(other)];
        if (a === "" || b === "") return (a === "") - (b === "");
        const [x, y] = [Number(a), Number(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return -sign * a.localeCompare(b);
        return sign * (x - y);
      };
      body.append(...[...body.rows].sort(compare));
    }));
  }

  // Durations.
  const tabs = all(".tabs button");
  for (const tab of tabs) {
    tab.addEventListener("click", () => {
      tabs.forEach((other) => other.setAttribute("aria-pressed", String(other === tab)));
      all(".tab").forEach((part) => part.classList.toggle("shown", part.dataset.tab === tab.dataset.tab));
    });
  }

  // Players: the first video of a group is the clock, and the others follow it.
  const play = document.getElementById("play");
  if (!play) return;
  const [seek, clock, speed, item] = ["seek", "clock", "speed", "item"].map((id) => document.getElementById(id));
  let videos = all(".players.shown video");
  let playing = false;
  const length = () => Math.max(0, ...videos.map((video) => video.duration || 0));
  const leader = () => videos.reduce((best, video) => ((video.duration || 0) > (best.duration || 0) ? video : best), videos[0]);
  const show = () => {
    const at = leader().currentTime;
    clock.textContent = `${at.toFixed(1)} s`;
    if (length()) seek.value = String(Math.round((1000 * at) / length()));
  };
  const stop = () => {
    playing = false;
    play.textContent = "Play";
    videos.forEach((video) => video.pause());
  };
  const step = () => {
    if (!playing) return;
    const first = leader();
    for (const video of videos) {
      const end = video.duration || 0;
      if (video !== first && first.currentTime < end && Math.abs(video.currentTime - first.currentTime) > 0.08) {
        video.currentTime = first.currentTime;
      }
    }
    show();
    if (first.ended) stop();
    else requestAnimationFrame(step);
  };
  const start = async () => {
    if (leader().ended) videos.forEach((video) => { video.currentTime = 0; });
    videos.forEach((video) => { video.playbackRate = Number(speed.value); });
    playing = true;
    play.textContent = "Pause";
    await Promise.allSettled(videos.map((video) => video.play()));
    requestAnimationFrame(step);
  };
  play.addEventListener("click", () => (playing ? stop() : start()));
  seek.addEventListener("input", () => {
    const at = (Number(seek.value) / 1000) * length();
    videos.forEach((video) => { video.currentTime = Math.min(at, video.duration || at); });
    clock.textContent = `${at.toFixed(1)} s`;
  });
  speed.addEventListener("change", () => videos.forEach((video) => { video.playbackRate = Number(speed.value); }));
  item.addEventListener("change", () => {
    stop();
    all(".players").forEach((group) => group.classList.toggle("shown", group.dataset.item === item.value));
    videos = all(".players.shown video");
    videos.forEach((video) => { video.currentTime = 0; });
    show();
  });
})();
