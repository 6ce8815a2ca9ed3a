/* Leave empty filters out of the address; they are there again where the page is come back to. If all are empty, one stays:
   an address without any is of this month. */
document.getElementById("filter-form")?.addEventListener("submit", (event) => {
    const fields = [...event.target.elements].filter((field) => field.name);
    const empty = fields.filter((field) => field.value === "");
    if (empty.length === fields.length && event.target.elements.from) empty.splice(empty.indexOf(event.target.elements.from), 1);
    empty.forEach((field) => { field.disabled = true; });
    setTimeout(() => empty.forEach((field) => { field.disabled = false; }));
});
