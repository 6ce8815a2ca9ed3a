/* The form of a source: only the chosen vendor's own settings are shown, and what an empty field stands for. */
const vendor = document.getElementById("id_vendor");
const facts = document.getElementById("vendor-facts");

function show(chosen) {
    for (const group of document.querySelectorAll("fieldset.vendor-options")) {
        group.hidden = !group.classList.contains(`vendor-${chosen}`);
    }
    if (!facts) return;
    const fact = JSON.parse(facts.textContent)[chosen] || {};
    for (const [name, said] of Object.entries({base_url: fact.base_url, requests_per_minute: fact.rate})) {
        const field = document.getElementById(`id_${name}`);
        if (field) field.placeholder = said || "";
    }
    const zone = document.querySelector("#id_time_zone option[value='']");
    if (zone) zone.textContent = fact.time_zone ? `The vendor's own: ${fact.time_zone}` : "UTC";
}

if (vendor) {
    vendor.addEventListener("change", () => show(vendor.value));
    show(vendor.value);
}
