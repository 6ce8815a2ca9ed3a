/* Coverage: what a day of a picture is, arrow keys over the days, and choosing a range.
   Without this script every year and every day is a link, and a range is two dates. */
const PITCH = 12;
const DAY = 86400000;
const pointed = document.getElementById("pointed");
const said = JSON.parse(document.getElementById("words-of-letters")?.textContent || "{}");

const parsed = (day) => new Date(`${day}T00:00:00Z`);
const written = (moment) => moment.toISOString().slice(0, 10);
const named = (moment) => moment.toLocaleDateString("en-GB", { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
const shifted = (day, days) => written(new Date(parsed(day).getTime() + days * DAY));
const weekday = (moment) => (moment.getUTCDay() + 6) % 7;

/* Pictures of years. */

function point(year, number) {
    const letter = year.dataset.days[number];
    if (letter === undefined) return unpoint(year);
    const first = parsed(year.dataset.first);
    const place = weekday(first) + number;
    let cursor = year.querySelector(".cursor");
    if (!cursor) {
        cursor = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        for (const [name, value] of Object.entries({ class: "cursor", width: PITCH, height: PITCH, rx: 2 })) cursor.setAttribute(name, value);
        year.querySelector("svg").append(cursor);
    }
    cursor.setAttribute("x", Math.floor(place / 7) * PITCH - 1);
    cursor.setAttribute("y", (place % 7) * PITCH - 1);
    year.dataset.at = number;
    const day = new Date(first.getTime() + number * DAY);
    const restated = letter !== letter.toLowerCase() ? ", restated" : "";
    pointed.textContent = `${named(day)}: ${said[letter.toLowerCase()]}${restated}`;
}

function unpoint(year) {
    year.querySelector(".cursor")?.remove();
    delete year.dataset.at;
    pointed.textContent = "";
}

function under(year, event) {
    const svg = year.querySelector("svg");
    const spot = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const row = Math.floor(spot.y / PITCH);
    if (row < 0 || row > 6) return -1;
    return Math.floor(spot.x / PITCH) * 7 + row - weekday(parsed(year.dataset.first));
}

function opened(year) {
    const day = shifted(year.dataset.first, Number(year.dataset.at));
    return `${year.getAttribute("href").replace(/&year=.*/, "")}&day=${day}`;
}

for (const year of document.querySelectorAll("a.year")) {
    year.addEventListener("pointermove", (event) => point(year, under(year, event)));
    year.addEventListener("pointerleave", () => unpoint(year));
    year.addEventListener("blur", () => unpoint(year));
    year.addEventListener("keydown", (event) => {
        const step = { ArrowLeft: -7, ArrowRight: 7, ArrowUp: -1, ArrowDown: 1 }[event.key];
        if (step === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
        event.preventDefault();
        const last = year.dataset.days.length - 1;
        const at = year.dataset.at === undefined ? -step : Number(year.dataset.at);
        point(year, Math.min(Math.max(at + step, 0), last));
    });
    year.addEventListener("click", (event) => {
        const open = year.dataset.at !== undefined && said[year.dataset.days[year.dataset.at].toLowerCase()] !== said.a;
        if (!open || event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        window.location.assign(opened(year));
    });
}

/* One year by days: one stop of the Tab key, the arrow keys move from day to day. */

const months = document.getElementById("months");
const links = new Map();
const form = document.getElementById("range");
const choosing = document.getElementById("choosing");
let begun = null; // the day that a range begins with
let current = null;

function dayOf(link) {
    return new URLSearchParams(link.search).get("day");
}

function move(day, focused = true) {
    if (!links.has(day)) return;
    links.get(current)?.setAttribute("tabindex", "-1");
    current = day;
    links.get(day).setAttribute("tabindex", "0");
    if (focused) links.get(day).focus();
}

function beside(day, key, whole) {
    const days = [...links.keys()];
    const at = weekday(parsed(day));
    const [year, month, on] = day.split("-").map(Number);
    const otherMonth = (step) => {
        const last = new Date(Date.UTC(year, month + step, 0)).getUTCDate();
        return written(new Date(Date.UTC(year, month - 1 + step, Math.min(on, last))));
    };
    const found = {
        ArrowLeft: () => shifted(day, -1),
        ArrowRight: () => shifted(day, 1),
        ArrowUp: () => shifted(day, -7),
        ArrowDown: () => shifted(day, 7),
        Home: () => (whole ? days[0] : shifted(day, -at)),
        End: () => (whole ? days.at(-1) : shifted(day, 6 - at)),
        PageUp: () => otherMonth(-1),
        PageDown: () => otherMonth(1),
    }[key]?.();
    if (found === undefined) return undefined;
    if (found < days[0]) return key === "Home" ? days[0] : day;
    if (found > days.at(-1)) return key === "End" || key === "PageDown" ? days.at(-1) : day;
    return found;
}

function choose(from, to) {
    const [first, last] = from < to ? [from, to] : [to, from];
    for (const [day, link] of links) {
        if (first <= day && day <= last) link.parentElement.setAttribute("aria-selected", "true");
        else link.parentElement.removeAttribute("aria-selected");
    }
    form.elements.first.value = first;
    form.elements.last.value = last;
    const days = Math.round((parsed(last) - parsed(first)) / DAY) + 1;
    document.getElementById("chosen").textContent = `${days === 1 ? "1 day" : `${days.toLocaleString("en-GB")} days`} chosen: ${named(parsed(first))}${days === 1 ? "" : ` through ${named(parsed(last))}`}.`;
}

function arm(on) {
    choosing?.setAttribute("aria-pressed", String(on));
    if (on) document.getElementById("chosen").textContent = "Press the first day, then the last.";
}

const armed = () => choosing?.getAttribute("aria-pressed") === "true";

function press(event) {
    const link = event.target.closest?.("td a");
    if (!link) return;
    const day = dayOf(link);
    move(day, false);
    const extending = form && event.shiftKey && begun;
    if (!extending && !armed()) {
        begun = day;
        if (form) choose(day, day);
        for (const other of months.querySelectorAll("[aria-current]")) other.removeAttribute("aria-current");
        link.setAttribute("aria-current", "true");
        return;
    }
    event.preventDefault();
    event.stopPropagation();
    if (armed() && form.dataset.half === undefined) {
        begun = day;
        form.dataset.half = day;
    } else if (armed()) {
        delete form.dataset.half;
        arm(false);
    }
    choose(begun, day);
}

if (months) {
    for (const link of months.querySelectorAll("td a")) {
        link.setAttribute("tabindex", "-1");
        links.set(dayOf(link), link);
    }
    const asked = new URLSearchParams(window.location.search).get("day");
    links.get(months.dataset.today)?.parentElement.classList.add("today");
    links.get(asked)?.setAttribute("aria-current", "true");
    move([asked, months.dataset.today, ...links.keys()].find((day) => links.has(day)), false);
    begun = links.has(asked) ? asked : null;
    document.getElementById("keys").hidden = false;

    // Before htmx hears of it: a press that chooses opens no day.
    months.addEventListener("click", press, true);
    months.addEventListener("keydown", (event) => {
        const link = event.target.closest("td a");
        if (!link || event.altKey || event.metaKey) return;
        const day = dayOf(link);
        const next = beside(day, event.key, event.ctrlKey);
        if (next === undefined) return;
        event.preventDefault();
        move(next);
        if (!form) return;
        if (event.shiftKey) {
            if (!link.parentElement.hasAttribute("aria-selected") || !begun) begun = day;
            choose(begun, current);
        } else {
            begun = null;
        }
    });
}

if (form) {
    choosing.hidden = false;
    choosing.addEventListener("click", () => {
        delete form.dataset.half;
        arm(!armed());
    });
    form.addEventListener("change", () => {
        const { first, last } = form.elements;
        if (first.value && last.value && first.value <= last.value) choose(first.value, last.value);
    });
}

/* An answer that is not the calendar's, as after being signed out, is no panel. */
document.addEventListener("htmx:beforeSwap", (event) => {
    if (new URL(event.detail.xhr.responseURL).pathname.includes("/coverage/")) return;
    event.detail.shouldSwap = false;
    window.location.reload();
});

/* What is shown in the panel takes the focus, and Escape gives it back to the day. */
document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "panel") event.detail.target.querySelector(".panel-title")?.focus();
});
document.getElementById("panel")?.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && links.has(current)) move(current);
});
