/* Leave empty filters out of the address; they are there again where the page is come back to. */
document.getElementById("filter-form")?.addEventListener("submit", (event) => {
    const empty = [...event.target.elements].filter((field) => field.name && field.value === "");
    empty.forEach((field) => { field.disabled = true; });
    setTimeout(() => empty.forEach((field) => { field.disabled = false; }));
});
