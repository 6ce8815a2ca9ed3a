/* The menus of the frame: each closes on Escape, on a click outside it and when the focus leaves it. */
const menus = document.querySelectorAll(".topbar details");

document.addEventListener("click", (event) => {
    for (const menu of menus) {
        if (!menu.contains(event.target)) menu.open = false;
    }
});

for (const menu of menus) {
    menu.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && menu.open) {
            menu.open = false;
            menu.querySelector("summary").focus();
            event.stopPropagation();
        }
    });
    menu.addEventListener("focusout", (event) => {
        if (event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
    });
}
