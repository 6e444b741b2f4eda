// Judging by keys: digits judge the marked question, letters press the button that bears them.
// Single keys are inert while one types, in dialogs, and with a modifier; Ctrl+Enter always submits.
(() => {
  "use strict";
  const form = document.querySelector("[data-review]");
  const questions = [...form.querySelectorAll("[data-dimension]")];
  const original = form.querySelector("[data-original]").textContent;
  const edited = form.querySelector("[data-edited]");
  const editing = form.querySelector("[data-editing]");
  const isText = (question) => question.dataset.kind === "text";
  const isJudged = (question) => isText(question) || question.querySelector("input:checked");

  let marked = 0;
  const mark = (index) => {
    marked = Math.max(0, Math.min(questions.length - 1, index));
    questions.forEach((question, at) => question.classList.toggle("marked", at === marked));
  };
  const open = questions.findIndex((question) => !isJudged(question));
  mark(open < 0 ? 0 : open);

  const judge = (digit) => {
    const question = questions[marked];
    const inputs = question ? [...question.querySelectorAll("input")] : [];
    const input = inputs[digit === 0 ? 9 : digit - 1];
    if (!input) return;
    input.checked = input.type === "checkbox" ? !input.checked : true;
    changed = true;
    if (input.type === "radio" && marked < questions.length - 1) mark(marked + 1);
  };
  const edit = () => {
    editing.hidden = false;
    edited.focus();
    edited.setSelectionRange(edited.value.length, edited.value.length);
  };
  form.querySelector("[data-edit]").addEventListener("click", edit);
  form.querySelector("[data-unedit]").addEventListener("click", () => {
    edited.value = original;
    editing.hidden = true;
  });
  form.addEventListener("focusin", (event) => {
    const at = questions.indexOf(event.target.closest("[data-dimension]"));
    if (at >= 0) mark(at);
  });

  // What is not kept yet is not left by accident.
  let changed = false;
  form.addEventListener("input", () => (changed = true));
  form.addEventListener("submit", () => (changed = false));
  addEventListener("beforeunload", (event) => changed && event.preventDefault());

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    if ((event.ctrlKey || event.metaKey) && event.key === "Enter") {
      event.preventDefault();
      form.requestSubmit(form.querySelector("[data-submit]"));
      return;
    }
    const on = event.target;
    const typing = on.closest?.("input:not([type=radio]):not([type=checkbox]), textarea, select, [contenteditable]");
    if (event.key === "Escape" && typing) on.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.getModifierState("AltGraph") || event.repeat) return;
    if (/^[0-9]$/.test(event.key)) {
      judge(Number(event.key));
    } else if (event.key === "Enter" && questions[marked] && isText(questions[marked]) && !on.closest("a, button")) {
      questions[marked].querySelector("textarea").focus();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      mark(marked + (event.key === "ArrowDown" ? 1 : -1));
    } else {
      const button = [...document.querySelectorAll("[data-key]")].find((one) => one.dataset.key === event.key);
      if (!button) return;
      if (button.form === form && button.name === "verb") form.requestSubmit(button);
      else button.click();
    }
    event.preventDefault();
  });
})();
