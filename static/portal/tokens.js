/* The page that shows a token's secret once: a button that copies it, where the browser lets a page copy. */
"use strict";

const secret = document.getElementById("secret");
const button = document.getElementById("copy-secret");

secret.addEventListener("focus", () => secret.select());
if (navigator.clipboard) {
    button.hidden = false;
    button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(secret.value);
        document.getElementById("copied").textContent = "Copied.";
    });
}
