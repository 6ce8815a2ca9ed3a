/* The usage lists: suggestions under the filters (a combobox as WAI-ARIA has it), and ids to copy. */

const PAUSE = 150;

/* What is typed last: filters but tags take several values with commas between. */
function parts(input) {
    if (input.dataset.suggests === "tag" || input.dataset.suggests === "tz") {
        return ["", input.value];
    }
    const comma = input.value.lastIndexOf(",");
    return [input.value.slice(0, comma + 1), input.value.slice(comma + 1).trim()];
}

class Suggestions {
    constructor(input) {
        this.input = input;
        this.form = input.form;
        this.options = [];
        this.active = -1;
        this.list = document.createElement("ul");
        this.list.id = `${input.id}-suggested`;
        this.list.className = "suggested";
        this.list.hidden = true;
        this.list.setAttribute("role", "listbox");
        this.list.setAttribute("aria-label", "Suggestions");
        const combo = document.createElement("span");
        combo.className = "combo";
        input.replaceWith(combo);
        combo.append(input, this.list);
        for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-expanded", "false"], ["aria-controls", this.list.id]]) {
            input.setAttribute(name, value);
        }
        input.addEventListener("input", () => this.later());
        input.addEventListener("click", () => this.later());
        input.addEventListener("blur", () => this.close());
        input.addEventListener("keydown", (event) => this.pressed(event));
        this.list.addEventListener("mousedown", (event) => event.preventDefault());
        this.list.addEventListener("click", (event) => {
            const option = event.target.closest("[role=option]");
            if (option) {
                this.take(Number(option.dataset.place));
            }
        });
    }

    later() {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.ask(), PAUSE);
    }

    async ask() {
        this.asking?.abort();
        this.asking = new AbortController();
        const query = new URLSearchParams({part: parts(this.input)[1]});
        for (const name of ["source", "from", "to", "_through", "tz"]) {
            const value = this.form.elements.namedItem(name)?.value;
            if (value && name !== this.input.name) {
                query.set(name, value);
            }
        }
        const address = this.form.dataset.suggest.replace("/-/", `/${encodeURIComponent(this.input.dataset.suggests)}/`);
        try {
            const answer = await fetch(`${address}?${query}`, {signal: this.asking.signal, headers: {Accept: "application/json"}});
            if (answer.ok && document.activeElement === this.input) {
                this.show(await answer.json());
            }
        } catch (error) {
            if (error.name !== "AbortError") {
                this.close();
            }
        }
    }

    show(found) {
        this.options = found.options.filter((option) => option.value !== this.input.value);
        this.active = -1;
        this.input.removeAttribute("aria-activedescendant");
        const lines = this.options.map((option, place) => {
            const line = document.createElement("li");
            line.id = `${this.list.id}-${place}`;
            line.dataset.place = place;
            line.setAttribute("role", "option");
            line.setAttribute("aria-selected", "false");
            line.append(option.label || option.value);
            if (option.label && option.label !== option.value) {
                const value = document.createElement("small");
                value.textContent = option.value;
                line.append(value);
            }
            return line;
        });
        const words = found.words || (found.more ? "There are more: type on." : "");
        if (words && lines.length) {
            const line = document.createElement("li");
            line.className = "said";
            line.setAttribute("role", "presentation");
            line.textContent = words;
            lines.push(line);
        }
        this.list.replaceChildren(...lines);
        const open = this.options.length > 0;
        this.list.hidden = !open;
        this.input.setAttribute("aria-expanded", String(open));
        tell(open ? `${this.options.length} suggestion${this.options.length === 1 ? "" : "s"}.` : words);
    }

    close() {
        clearTimeout(this.timer);
        this.asking?.abort();
        this.list.hidden = true;
        this.active = -1;
        this.input.setAttribute("aria-expanded", "false");
        this.input.removeAttribute("aria-activedescendant");
    }

    pressed(event) {
        if (event.key === "Escape" && !this.list.hidden) {
            event.preventDefault();
            this.close();
        } else if (event.key === "ArrowDown" && this.list.hidden) {
            event.preventDefault();
            this.ask();
        } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            if (!this.list.hidden) {
                event.preventDefault();
                this.point(this.active + (event.key === "ArrowDown" ? 1 : -1));
            }
        } else if (event.key === "Enter" && !this.list.hidden && this.active >= 0) {
            event.preventDefault();
            this.take(this.active);
        }
    }

    point(place) {
        const count = this.options.length;
        this.active = (place + count) % count;
        for (const line of this.list.querySelectorAll("[role=option]")) {
            const chosen = Number(line.dataset.place) === this.active;
            line.setAttribute("aria-selected", String(chosen));
            if (chosen) {
                this.input.setAttribute("aria-activedescendant", line.id);
                line.scrollIntoView({block: "nearest"});
            }
        }
    }

    take(place) {
        const before = parts(this.input)[0];
        this.input.value = before + this.options[place].value;
        this.close();
        if (this.input.dataset.suggests === "tag") {
            another(this.input);
        }
    }
}

/* One more input for a tag, once the last one is filled. */
function another(input) {
    const field = input.closest(".field");
    const all = [...field.querySelectorAll("[data-suggests=tag]")];
    if (all.some((one) => !one.value)) {
        return;
    }
    const next = input.cloneNode();
    next.id = `${input.id}-${all.length + 1}`;
    next.value = "";
    for (const name of ["role", "aria-controls", "aria-expanded", "aria-activedescendant", "aria-invalid"]) {
        next.removeAttribute(name);
    }
    all.at(-1).closest(".combo").after(next);
    new Suggestions(next);
}

/* What a screen reader is told. */
const teller = document.createElement("p");
teller.className = "visually-hidden";
teller.setAttribute("role", "status");
document.querySelector("main")?.append(teller);

function tell(words) {
    teller.textContent = words;
}

for (const input of document.querySelectorAll("form.ask [data-suggests]")) {
    new Suggestions(input);
}

/* On a telephone the list comes first. */
const whole = document.querySelector(".asking .whole");
if (whole && matchMedia("(max-width: 40rem)").matches && !whole.querySelector("[aria-invalid]")) {
    whole.open = false;
}

/* Leave empty filters out of the address. */
document.querySelector("form.ask")?.addEventListener("submit", (event) => {
    const empty = [...event.target.elements].filter((field) => field.name && field.value === "");
    empty.forEach((field) => { field.disabled = true; });
    setTimeout(() => empty.forEach((field) => { field.disabled = false; }));
});

/* Only where the browser lets a page copy: on https, and on this machine. */
for (const field of navigator.clipboard ? document.querySelectorAll(".copied") : []) {
    const button = document.createElement("button");
    const label = field.closest("div").querySelector("dt").textContent;
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${label}`);
    button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(field.textContent.trim());
        button.textContent = "Copied";
        tell(`${label} copied.`);
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    field.after(button);
}
