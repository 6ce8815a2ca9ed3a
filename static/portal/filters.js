/* Leave empty filters out of the address. */
document.getElementById("filter-form")?.addEventListener("submit", (event) => {
    for (const field of event.target.elements) {
        field.disabled = field.value === "" && field.name !== "";
    }
});
