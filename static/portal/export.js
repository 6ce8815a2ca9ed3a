/* Exports: the browser downloads, this page shows how far it has come. */
"use strict";

(() => {
    const menu = document.querySelector(".export-menu");
    const list = document.getElementById("exports");
    const mould = document.getElementById("export-panel");
    if (!menu || !list || !mould) return;

    const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

    /* Nothing comes back but a file or 204, so the page stays; what went wrong is told by the panel. */
    const ask = (panel) => window.location.assign(panel.dataset.address);

    function follow(panel, id) {
        const state = panel.querySelector(".export-state");
        const address = new URL(menu.dataset.follow, window.location.href);
        state.setAttribute("hx-get", `${address.pathname}${id}/`);
        state.setAttribute("hx-trigger", "load delay:300ms, every 1s");
        panel.querySelector("[data-export-stop]").setAttribute("hx-post", `${address.pathname}${id}/stop/`);
        window.htmx.process(panel);
    }

    function begin(link) {
        const id = newId();
        const address = new URL(link.href);
        address.searchParams.set("export", id);
        const panel = mould.content.firstElementChild.cloneNode(true);
        panel.dataset.address = address.href;
        panel.querySelector("h2").textContent = link.dataset.name;
        for (const words of panel.querySelectorAll("button .visually-hidden")) words.textContent = `: ${link.dataset.name}`;
        list.append(panel);
        list.hidden = false;
        menu.open = false;
        menu.querySelector("summary").focus();
        follow(panel, id);
        ask(panel);
    }

    function dismiss(panel) {
        panel.remove();
        list.hidden = list.childElementCount === 0;
        menu.querySelector("summary").focus();
    }

    document.addEventListener("click", (event) => {
        const link = event.target.closest("a[data-export]");
        if (link && window.htmx && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
            event.preventDefault();
            begin(link);
            return;
        }
        const panel = event.target.closest(".export-panel");
        if (panel && event.target.closest("[data-export-dismiss]")) dismiss(panel);
        if (panel && event.target.closest("[data-export-again]")) ask(panel);
        const other = event.target.closest("[data-export-as]");
        if (panel && other) {
            dismiss(panel);
            begin(menu.querySelector(`a[data-export="${other.dataset.exportAs}"]`));
        }
        if (menu.open && !event.target.closest(".export-menu")) menu.open = false;
    });

    document.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && menu.open) {
            menu.open = false;
            menu.querySelector("summary").focus();
        }
    });

    list.addEventListener("export-again", (event) => ask(event.target.closest(".export-panel")));
    list.addEventListener("export-ended", (event) => event.target.closest(".export-panel").classList.add("ended"));
    list.addEventListener("htmx:afterSwap", (event) => {
        const panel = event.target.closest(".export-panel");
        if (!panel || !panel.classList.contains("ended")) return;
        panel.querySelector("[data-export-stop]").hidden = true;
        panel.querySelector("[data-export-dismiss]").hidden = false;
        document.getElementById("export-announcement").textContent = `${panel.querySelector("h2").textContent}. ${panel.querySelector(".export-text").textContent}`;
    });
})();
