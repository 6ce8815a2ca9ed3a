/* Suggestions under the inputs of filters: a combobox as WAI-ARIA has it, on the usage lists and on Explore. */
"use strict";

(() => {
const PAUSE = 150;
const SINGLE = ["tz", "_tag"]; // the others take several values, written as usage/param_values.py has them

/* What a screen reader is told. */
const status = document.createElement("p");
status.className = "visually-hidden";
status.setAttribute("role", "status");
document.querySelector("main")?.append(status);

/* Split what is typed into the values before the last comma that separates, and the one being typed. */
function split(input) {
    const before = SINGLE.includes(input.name) ? "" : input.value.match(/^(?:(?:\\[^]|[^,\\])*,)*/)[0];
    const typed = input.value.slice(before.length).trim();
    return [before, SINGLE.includes(input.name) ? typed : typed.replace(/\\([,\\~\s])/g, "$1")];
}

/* Write a value so that it is read as just this one. */
function write(input, value) {
    return SINGLE.includes(input.name) ? value : value.replace(/[,\\]|~(?=none$)|^\s|\s$/g, "\\$&");
}

class Suggestions {
    constructor(input) {
        this.input = input;
        input.started = true;
        this.options = [];
        this.active = -1;
        this.list = document.createElement("ul");
        this.list.id = `${input.id}-suggested`;
        this.list.className = "suggested";
        this.list.hidden = true;
        this.list.setAttribute("role", "listbox");
        this.list.setAttribute("aria-label", "Suggestions");
        this.wrap();
        for (const [name, value] of [["role", "combobox"], ["aria-autocomplete", "list"], ["aria-expanded", "false"], ["aria-controls", this.list.id]]) {
            input.setAttribute(name, value);
        }
        input.addEventListener("input", () => {
            this.unpoint(); // Enter sends what is typed
            this.schedule();
        });
        input.addEventListener("click", () => this.schedule());
        input.addEventListener("blur", () => this.close());
        input.addEventListener("keydown", (event) => this.handleKey(event));
        this.list.addEventListener("mousedown", (event) => event.preventDefault());
        this.list.addEventListener("click", (event) => {
            const option = event.target.closest("[role=option]");
            if (option) {
                this.choose(Number(option.dataset.place));
            }
        });
    }

    /* Put the input and its list into one box; to move an input takes its focus away. */
    wrap() {
        const { selectionStart, selectionEnd } = this.input;
        const focused = document.activeElement === this.input;
        const combo = document.createElement("span");
        combo.className = "combo";
        (this.input.closest(".combo") || this.input).replaceWith(combo);
        combo.append(this.input, this.list);
        if (focused) {
            this.input.focus({ preventScroll: true });
            this.input.setSelectionRange(selectionStart, selectionEnd);
        }
    }

    schedule() {
        clearTimeout(this.timer);
        this.timer = setTimeout(() => this.load(), PAUSE);
    }

    async load() {
        clearTimeout(this.timer);
        this.loading?.abort();
        this.loading = new AbortController();
        const query = new URLSearchParams({ part: split(this.input)[1] });
        const form = new FormData(this.input.form);
        for (const name of ["source", "from", "to", "_through", "tz"]) {
            const value = form.getAll(name).filter(Boolean).join(",");
            if (value && name !== this.input.name) {
                query.set(name, value);
            }
        }
        try {
            const options = { signal: this.loading.signal, headers: { Accept: "application/json" } };
            const response = await fetch(`${this.input.dataset.suggestions}?${query}`, options);
            if (response.ok && !response.redirected && document.activeElement === this.input) {
                this.show(await response.json());
            }
        } catch (error) {
            if (error.name !== "AbortError") {
                this.close();
            }
        }
    }

    show(found) {
        const pointed = this.options[this.active]?.value;
        this.options = found.options.filter((option) => option.value !== this.input.value);
        this.unpoint();
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
        const text = found.words || (found.more ? "There are more: type on." : "");
        if (text && lines.length) {
            const line = document.createElement("li");
            line.className = "note";
            line.setAttribute("role", "presentation");
            line.textContent = text;
            lines.push(line);
        }
        this.list.replaceChildren(...lines);
        const open = this.options.length > 0;
        this.list.hidden = !open;
        this.input.setAttribute("aria-expanded", String(open));
        const place = this.options.findIndex((option) => option.value === pointed);
        if (place >= 0) { // read again by a click, the list has the same option still chosen
            this.point(place);
        }
        status.textContent = open ? `${this.options.length} suggestion${this.options.length === 1 ? "" : "s"}.` : text;
    }

    close() {
        clearTimeout(this.timer);
        this.loading?.abort();
        this.list.hidden = true;
        this.input.setAttribute("aria-expanded", "false");
        this.unpoint();
    }

    handleKey(event) {
        if (event.key === "Escape" && !this.list.hidden) {
            event.preventDefault();
            this.close();
        } else if (event.key === "ArrowDown" && this.list.hidden) {
            event.preventDefault();
            this.load();
        } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
            if (!this.list.hidden) {
                event.preventDefault();
                this.point(this.active + (event.key === "ArrowDown" ? 1 : -1));
            }
        } else if (event.key === "Enter" && !this.list.hidden && this.active >= 0) {
            event.preventDefault();
            this.choose(this.active);
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

    unpoint() {
        this.active = -1;
        this.input.removeAttribute("aria-activedescendant");
        this.list.querySelector("[aria-selected=true]")?.setAttribute("aria-selected", "false");
    }

    choose(place) {
        this.input.value = split(this.input)[0] + write(this.input, this.options[place].value);
        this.close();
        this.input.dispatchEvent(new Event("change", { bubbles: true }));
        if (this.input.name === "tag") {
            addInput(this.input);
        }
    }
}

/* Add one more input for a tag once all are filled. */
function addInput(input) {
    const inputs = [...input.form.querySelectorAll(`input[name="${input.name}"]`)];
    if (inputs.some((one) => !one.value)) {
        return;
    }
    const next = input.cloneNode();
    next.id = `${input.id}-${inputs.length + 1}`;
    next.value = "";
    for (const name of ["role", "aria-controls", "aria-expanded", "aria-activedescendant", "aria-invalid"]) {
        next.removeAttribute(name);
    }
    inputs.at(-1).closest(".combo").after(next);
    new Suggestions(next);
}

function start() {
    document.querySelectorAll("input[data-suggestions]").forEach((input) => input.started || new Suggestions(input));
}

start();
document.addEventListener("htmx:afterSettle", start);
document.addEventListener("htmx:historyRestore", start);
})();
