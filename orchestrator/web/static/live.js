// Follows the log and, when something happened, puts what the server wrote anew in place of what is shown.
"use strict";

const main = document.querySelector("main[data-source]");
const button = document.getElementById("pause");
const QUIET = 300; // milliseconds that are waited for more of the same
const SELDOM = 1000; // milliseconds between two looks at least
const ANYWAY = 5000; // milliseconds after which is looked even if nothing was heard: time goes on

let stream = null;
let timer = 0;
let looked = 0;
let busy = false;
let paused = false;

function source() {
  const url = new URL(main.dataset.source, location.href);
  for (const [name, value] of new URLSearchParams(location.search)) url.searchParams.set(name, value);
  return url;
}

function due(wait) {
  if (paused || document.hidden) return;
  const earliest = Math.max(wait, looked + SELDOM - Date.now());
  const at = Date.now() + earliest;
  if (timer && timer.at <= at) return;
  if (timer) clearTimeout(timer.id);
  timer = { at, id: setTimeout(look, earliest) };
}

async function look() {
  timer = 0;
  if (busy) return due(SELDOM);
  busy = true;
  looked = Date.now();
  try {
    const answer = await fetch(source(), { headers: { Accept: "text/html" }, credentials: "same-origin" });
    if (answer.status === 401) return location.reload();
    if (answer.ok && !paused) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
    main.classList.toggle("stale", !answer.ok);
  } catch {
    main.classList.add("stale"); // The service is away: it is asked again.
  } finally {
    busy = false;
    due(ANYWAY);
  }
}

function show(fresh) {
  for (const part of main.querySelectorAll("[data-part]")) {
    const next = fresh.getElementById(part.id);
    if (!next || next.innerHTML === part.innerHTML || holdsSelection(part)) continue;
    const focused = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const open = [...part.querySelectorAll("details[open] > summary")].map((summary) => summary.textContent);
    part.innerHTML = next.innerHTML;
    for (const summary of part.querySelectorAll("details > summary"))
      summary.parentElement.open = open.includes(summary.textContent);
    if (focused) [...part.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus();
  }
}

function holdsSelection(part) {
  const selection = getSelection();
  return !selection.isCollapsed && part.contains(selection.anchorNode);
}

function follow() {
  if (stream || paused || document.hidden) return;
  stream = new EventSource("/api/stream");
  for (const name of main.dataset.events.trim().split(" ")) stream.addEventListener(name, () => due(QUIET));
  stream.onerror = () => {
    // A browser comes back by itself, unless it was refused.
    if (stream && stream.readyState === EventSource.CLOSED) leave();
  };
}

function leave() {
  if (stream) stream.close();
  stream = null;
}

function change() {
  if (paused || document.hidden) {
    leave();
    if (timer) clearTimeout(timer.id);
    timer = 0;
  } else {
    follow();
    due(0);
  }
}

if (main) {
  button.hidden = false;
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause updates";
    change();
  });
  document.addEventListener("visibilitychange", change);
  addEventListener("pagehide", leave);
  follow();
  due(ANYWAY);
}
