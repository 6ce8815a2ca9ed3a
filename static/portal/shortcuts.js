/* The search box, the help of the keyboard and single keys, on every page. Without it, Search is a link to a page. */
"use strict";

(() => {
  const search = document.getElementById("search-dialog");
  const keys = document.getElementById("keys-dialog");
  if (!search || !keys) return;
  const box = document.getElementById("search-box");
  const found = document.getElementById("found");
  const exact = document.getElementById("exact-digits");
  const single = document.getElementById("single-keys");
  let pending = false; // Enter was pressed before the answer to what is typed came

  single.checked = localStorage.getItem("single-keys") !== "no";
  single.addEventListener("change", () => localStorage.setItem("single-keys", single.checked ? "yes" : "no"));
  if (exact) {
    exact.checked = localStorage.getItem("exact-digits") === "yes";
    exact.addEventListener("change", () => localStorage.setItem("exact-digits", exact.checked ? "yes" : "no"));
  }

  function open(dialog) {
    if (document.querySelector("dialog[open]")) return;
    dialog.showModal();
    if (dialog === search) box.select();
  }

  const hits = () => [...found.querySelectorAll("a.hit")];
  const isCurrent = () => found.firstElementChild?.dataset.q === box.value.trim();

  function step(by) {
    const links = hits();
    const at = links.indexOf(document.activeElement) + by;
    (at < 0 ? box : links[Math.min(at, links.length - 1)])?.focus();
  }

  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !box.value.trim()) return;
    const first = isCurrent() && hits()[0];
    if (first) first.click();
    else if (isCurrent()) return; // nothing was found: the page says so
    else pending = true;
    event.preventDefault();
  });
  box.addEventListener("input", () => {
    pending = false;
    if (!box.value.trim()) found.replaceChildren();
  });
  search.addEventListener("keydown", (event) => {
    if (!["ArrowDown", "ArrowUp"].includes(event.key)) return;
    step(event.key === "ArrowDown" ? 1 : -1);
    event.preventDefault();
  });
  found.addEventListener("htmx:afterSwap", () => {
    const number = hits().length;
    document.getElementById("found-status").textContent = number ? `${number} found` : "Nothing found";
    if (pending && isCurrent()) hits()[0]?.click();
    pending = false;
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
    else if (event.target === search || event.target === keys) event.target.close(); // on the backdrop
    const opener = event.target.closest("[data-opens]");
    if (!opener || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(document.getElementById(opener.dataset.opens));
  });

  document.addEventListener("keydown", (event) => {
    const control = event.ctrlKey || event.metaKey;
    if (control && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open(search);
      return;
    }
    if (control || event.altKey || !single.checked) return;
    if (event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select, dialog, [contenteditable]")) return;
    if (event.key === "/") open(search);
    else if (event.key === "?") open(keys);
    else if (event.key === "e" && exact && exact.offsetParent) exact.click();
    else return;
    event.preventDefault();
  });
})();
