/* The usage lists: the folded filters, and ids to copy. */
"use strict";

(() => {
/* Whoever opens the filters types at once. */
document.querySelector(".filter-bar .fold")?.addEventListener("toggle", (event) => {
    if (event.target.open) {
        event.target.querySelector("[aria-invalid], input:not([type=hidden])")?.focus({ preventScroll: true });
    }
});

/* What a screen reader is told. */
const status = document.createElement("p");
status.className = "visually-hidden";
status.setAttribute("role", "status");
document.querySelector("main")?.append(status);

/* Only where the browser lets a page copy: on https, and on this machine. */
for (const field of navigator.clipboard ? document.querySelectorAll(".copyable") : []) {
    const button = document.createElement("button");
    const label = field.closest("div").querySelector("dt").textContent;
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${label}`);
    button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(field.textContent.trim());
        button.textContent = "Copied";
        status.textContent = `${label} copied.`;
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    field.after(button);
}
})();
