/* The form of a source: shows the options of the selected vendor only, and the defaults of empty fields. */
const vendorField = document.getElementById("id_vendor");
const vendorDefaults = document.getElementById("vendor-defaults");

function showVendor(vendor) {
    for (const group of document.querySelectorAll("fieldset.vendor-options")) {
        group.hidden = !group.classList.contains(`vendor-${vendor}`);
    }
    if (!vendorDefaults) return;
    const defaults = JSON.parse(vendorDefaults.textContent)[vendor] || {};
    for (const [name, value] of Object.entries({base_url: defaults.base_url, requests_per_minute: defaults.rate})) {
        const field = document.getElementById(`id_${name}`);
        if (field) field.placeholder = value || "";
    }
    const zone = document.querySelector("#id_time_zone option[value='']");
    if (zone) zone.textContent = defaults.time_zone ? `The vendor's own: ${defaults.time_zone}` : "UTC";
}

if (vendorField) {
    vendorField.addEventListener("change", () => showVendor(vendorField.value));
    showVendor(vendorField.value);
}
