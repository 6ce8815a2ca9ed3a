/* Menus: one closes on Escape, on a click outside it and when the focus leaves it. */
const MENUS = ".topbar details[open], details.menu[open]";

document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll(MENUS)) {
        if (!menu.contains(event.target)) menu.open = false;
    }
});

document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest?.(MENUS);
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
    event.stopPropagation();
});

document.addEventListener("focusout", (event) => {
    const menu = event.target.closest?.(MENUS);
    if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});
