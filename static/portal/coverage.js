/* Coverage: the description of a day in a picture, arrow keys over the days, and selecting a range.
   Without this script every year and every day is a link, and a range is two dates. */
const PITCH = 12;
const DAY = 86400000;
const dayDescription = document.getElementById("day-description");

const parseDate = (text) => new Date(`${text}T00:00:00Z`);
const formatDate = (date) => date.toISOString().slice(0, 10);
const formatLongDate = (date) => date.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
const addDays = (text, days) => formatDate(new Date(parseDate(text).getTime() + days * DAY));
const getWeekday = (date) => (date.getUTCDay() + 6) % 7;

/* Pictures of years. */

const descriptions = new Map();

/* The description of each day of a year, from runs such as `31 complete, final; 1 failed`. */
function getDescriptions(year) {
    if (!descriptions.has(year)) {
        const runs = year.dataset.days.split("; ").map((run) => run.match(/^(\d+) (.*)$/));
        descriptions.set(year, runs.flatMap(([, length, text]) => Array(Number(length)).fill(text)));
    }
    return descriptions.get(year);
}

function showDay(year, number) {
    const description = getDescriptions(year)[number];
    if (description === undefined) return clearDay(year);
    const first = parseDate(year.dataset.first);
    const place = getWeekday(first) + number;
    let cursor = year.querySelector(".cursor");
    if (!cursor) {
        cursor = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        for (const [name, value] of Object.entries({ class: "cursor", width: PITCH, height: PITCH, rx: 2 })) cursor.setAttribute(name, value);
        year.querySelector("svg").append(cursor);
    }
    cursor.setAttribute("x", Math.floor(place / 7) * PITCH - 1);
    cursor.setAttribute("y", (place % 7) * PITCH - 1);
    year.dataset.at = number;
    dayDescription.textContent = `${formatLongDate(parseDate(getDay(year)))}: ${description}`;
}

function clearDay(year) {
    year.querySelector(".cursor")?.remove();
    delete year.dataset.at;
    dayDescription.textContent = "";
}

function findDay(year, event) {
    const svg = year.querySelector("svg");
    const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const row = Math.floor(spot.y / PITCH);
    if (row < 0 || row > 6) return -1;
    return Math.floor(spot.x / PITCH) * 7 + row - getWeekday(parseDate(year.dataset.first));
}

function getDay(year) {
    return addDays(year.dataset.first, Number(year.dataset.at));
}

for (const year of document.querySelectorAll("a.year")) {
    year.addEventListener("pointermove", (event) => showDay(year, findDay(year, event)));
    year.addEventListener("pointerleave", () => clearDay(year));
    year.addEventListener("blur", () => clearDay(year));
    year.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1 }[event.key];
        if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        const last = getDescriptions(year).length - 1;
        const at = year.dataset.at === undefined ? -step : Number(year.dataset.at);
        showDay(year, Math.min(Math.max(at + step, 0), last));
    });
    year.addEventListener("click", (event) => {
        const hasPage = year.dataset.at !== undefined && getDay(year) <= year.dataset.today;
        if (!hasPage || event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        window.location.assign(`${year.getAttribute("href").replace(/&year=.*/, "")}&day=${getDay(year)}`);
    });
}

/* One year by days: one stop of the Tab key, the arrow keys move from day to day. */

const months = document.getElementById("months");
const links = new Map();
const form = document.getElementById("range");
const selectButton = document.getElementById("select-range");
const selectedRange = document.getElementById("selected-range");
let rangeStart = null;
let current = null;

function getLinkDay(link) {
    return new URLSearchParams(link.search).get("day");
}

function moveTo(day, focus = true) {
    if (!links.has(day)) return;
    links.get(current)?.setAttribute("tabindex", "-1");
    current = day;
    links.get(day).setAttribute("tabindex", "0");
    if (focus) links.get(day).focus();
}

function findNext(day, key, ofYear) {
    const days = [...links.keys()];
    const weekday = getWeekday(parseDate(day));
    const [year, month, on] = day.split("-").map(Number);
    const addMonths = (step) => {
        const last = new Date(Date.UTC(year, month + step, 0)).getUTCDate();
        return formatDate(new Date(Date.UTC(year, month - 1 + step, Math.min(on, last))));
    };
    const next = {
        ArrowLeft: () => addDays(day, -1),
        ArrowRight: () => addDays(day, 1),
        ArrowUp: () => addDays(day, -7),
        ArrowDown: () => addDays(day, 7),
        Home: () => (ofYear ? days[0] : addDays(day, -weekday)),
        End: () => (ofYear ? days.at(-1) : addDays(day, 6 - weekday)),
        PageUp: () => addMonths(-1),
        PageDown: () => addMonths(1),
    }[key]?.();
    if (next === undefined) return undefined;
    if (next < days[0]) return key === "Home" ? days[0] : day;
    if (next > days.at(-1)) return key === "End" || key === "PageDown" ? days.at(-1) : day;
    return next;
}

function selectRange(from, to) {
    const [first, last] = from < to ? [from, to] : [to, from];
    for (const [day, link] of links) {
        if (first <= day && day <= last) link.parentElement.setAttribute("aria-selected", "true");
        else link.parentElement.removeAttribute("aria-selected");
    }
    form.elements.first.value = first;
    form.elements.last.value = last;
    const days = Math.round((parseDate(last) - parseDate(first)) / DAY) + 1;
    const count = days === 1 ? "1 day" : `${days.toLocaleString("en-GB")} days`;
    const through = days === 1 ? "" : ` through ${formatLongDate(parseDate(last))}`;
    selectedRange.textContent = `${count} selected: ${formatLongDate(parseDate(first))}${through}.`;
}

function setSelecting(on) {
    selectButton?.setAttribute("aria-pressed", String(on));
    if (on) selectedRange.textContent = "Select the first day, then the last.";
}

const isSelecting = () => selectButton?.getAttribute("aria-pressed") === "true";

function handleClick(event) {
    const link = event.target.closest?.("td a");
    if (!link) return;
    const day = getLinkDay(link);
    moveTo(day, false);
    const extending = form && event.shiftKey && rangeStart;
    if (!extending && !isSelecting()) {
        rangeStart = day;
        if (form) selectRange(day, day);
        for (const other of months.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
        link.setAttribute("aria-current", "true");
        return;
    }
    event.preventDefault();
    event.stopPropagation();
    if (isSelecting() && form.dataset.half === undefined) {
        rangeStart = day;
        form.dataset.half = day;
    } else if (isSelecting()) {
        delete form.dataset.half;
        setSelecting(false);
    }
    selectRange(rangeStart, day);
}

if (months) {
    for (const link of months.querySelectorAll("td a")) {
        link.setAttribute("tabindex", "-1");
        links.set(getLinkDay(link), link);
    }
    const opened = new URLSearchParams(window.location.search).get("day");
    links.get(months.dataset.today)?.parentElement.classList.add("today");
    links.get(opened)?.setAttribute("aria-current", "true");
    moveTo([opened, months.dataset.today, ...links.keys()].find((day) => links.has(day)), false);
    rangeStart = links.has(opened) ? opened : null;
    document.getElementById("keys").hidden = false;

    // In the capture phase, before htmx: a click that selects a range opens no day.
    months.addEventListener("click", handleClick, true);
    months.addEventListener("keydown", (event) => {
        const link = event.target.closest("td a");
        if (!link || event.altKey || event.metaKey) return;
        const day = getLinkDay(link);
        const next = findNext(day, event.key, event.ctrlKey);
        if (next === undefined) return;
        event.preventDefault();
        moveTo(next);
        if (!form) return;
        if (event.shiftKey) {
            if (!link.parentElement.hasAttribute("aria-selected") || !rangeStart) rangeStart = day;
            selectRange(rangeStart, current);
        } else {
            rangeStart = null;
        }
    });
}

if (form) {
    selectButton.hidden = false;
    selectButton.addEventListener("click", () => {
        delete form.dataset.half;
        setSelecting(!isSelecting());
    });
    form.addEventListener("change", () => {
        const { first, last } = form.elements;
        if (first.value && last.value && first.value <= last.value) selectRange(first.value, last.value);
    });
}

/* A response from another address, such as the sign-in page, is no panel. */
document.addEventListener("htmx:beforeSwap", (event) => {
    if (new URL(event.detail.xhr.responseURL).pathname.includes("/coverage/")) return;
    event.detail.shouldSwap = false;
    window.location.reload();
});

/* The panel takes the focus, and Escape gives it back to the day. */
document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "panel") event.detail.target.querySelector(".panel-title")?.focus();
});
document.getElementById("panel")?.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && links.has(current)) moveTo(current);
});
