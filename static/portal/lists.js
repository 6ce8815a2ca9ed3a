/* The usage lists: filters on a telephone, and ids to copy. */
"use strict";

(() => {
/* On a telephone the list comes first. */
const whole = document.querySelector(".asking .whole");
if (whole && matchMedia("(max-width: 40rem)").matches && !whole.querySelector("[aria-invalid]")) {
    whole.open = false;
}

/* What a screen reader is told. */
const status = document.createElement("p");
status.className = "visually-hidden";
status.setAttribute("role", "status");
document.querySelector("main")?.append(status);

/* Only where the browser lets a page copy: on https, and on this machine. */
for (const field of navigator.clipboard ? document.querySelectorAll(".copied") : []) {
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
