// Gold stars: the form opens as a dialog where a row's star is pressed, and the row follows.
(() => {
  "use strict";
  const dialog = document.getElementById("star-dialog");
  let pressed = null;

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-star]");
    if (button) pressed = button;
  });
  document.addEventListener("htmx:afterSwap", (event) => {
    const body = dialog?.querySelector("[data-star-body]");
    if (body && event.detail.target === body && !dialog.open) dialog.showModal();
    const form = event.detail.elt.closest?.(".star-form") || document.querySelector(".star-form[data-star-saved]:not([data-star-saved=''])");
    const saved = form?.dataset.starSaved;
    if (!saved) return;
    form.dataset.starSaved = "";
    if (!pressed || !dialog?.open) return;
    const starred = saved !== "none";
    pressed.classList.toggle("starred", starred);
    pressed.querySelector("span")?.remove();
    if (starred) {
      const score = document.createElement("span");
      score.textContent = saved;
      pressed.append(score);
    }
    pressed.setAttribute("aria-label", starred ? `Gold star, ${saved} of 10: change it` : "Star this answer");
    pressed.title = starred ? `Gold star, ${saved} of 10` : "Star this answer";
  });
  dialog?.addEventListener("close", () => pressed?.focus());
})();
