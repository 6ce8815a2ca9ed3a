// Returns the violations that axe finds on the page by `options`, and the kinds of text whose contrast passed; null
// where axe is not loaded.
//
// Contrast is what takes longest by far, and a page has up to a thousand elements that look alike. Where `contrast`
// is set, one of them is judged, or all where axe cannot tell: of those whose styles below are the same, and in all
// that they are in, too. None is judged of the kinds that passed before, on whichever page: `passed`.
async ({ options, contrast, passed }) => {
    const RULE = "color-contrast", MARK = "data-judged-contrast";
    const STYLES = [
        "backgroundColor", "backgroundImage", "clipPath", "color", "colorScheme", "display", "filter", "fontSize",
        "fontStyle", "fontWeight", "mixBlendMode", "opacity", "overflow", "position", "textShadow", "visibility",
        "webkitTextStroke",
    ];
    const kinds = new Map();
    let placed = 0;

    function hash(text) {
        let [low, high] = [0xdeadbeef, 0x41c6ce57];
        for (let at = 0; at < text.length; at += 1) {
            low = Math.imul(low ^ text.charCodeAt(at), 2654435761);
            high = Math.imul(high ^ text.charCodeAt(at), 1597334677);
        }
        low = Math.imul(low ^ (low >>> 16), 2246822507) ^ Math.imul(high ^ (high >>> 13), 3266489909);
        high = Math.imul(high ^ (high >>> 16), 2246822507) ^ Math.imul(low ^ (low >>> 13), 3266489909);
        return 4294967296 * (2097151 & high) + (low >>> 0);
    }

    function describe(element, parent) {
        const style = getComputedStyle(element);
        const own = STYLES.map((name) => style[name]);
        // What is placed by itself may lie above anything, another time above something else.
        const isPlaced = ["absolute", "fixed", "sticky"].includes(style.position);
        if (isPlaced) own.push(placed += 1);
        own.push(element.localName, element.type, element.disabled, element.getAttribute("aria-disabled"));
        return { key: hash(`${parent.key} ${own.join()}`), isPlaced: parent.isPlaced || isPlaced };
    }

    function read(element) {
        const texts = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE);
        return texts.map((node) => node.data.trim()).join("") || String(element.value || element.placeholder || "");
    }

    function walk(element, parent) {
        const look = describe(element, parent);
        const text = read(element);
        if (text && element.getClientRects().length) {
            // axe judges neither single characters nor signs.
            const key = hash(`${look.key} ${text.length > 1 && /[\p{L}\p{N}]/u.test(text)}`);
            if (!kinds.has(key)) kinds.set(key, { key, isPlaced: look.isPlaced, elements: [] });
            kinds.get(key).elements.push(element);
        }
        for (const child of element.children) walk(child, look);
    }

    // Judges by axe; of contrasts those of these elements alone.
    async function run(elements, options) {
        for (const element of elements) element.setAttribute(MARK, "");
        const found = await axe.run(options);
        for (const element of elements) element.removeAttribute(MARK);
        return found;
    }

    function list(rules) {
        return new Set(rules.filter((rule) => rule.id === RULE).flatMap((rule) => rule.nodes.map((node) => node.element)));
    }

    if (typeof axe === "undefined") return null;
    axe.configure({ rules: [{ id: RULE, selector: `[${MARK}]` }] });
    if (contrast) walk(document.body, describe(document.documentElement, { key: 0, isPlaced: false }));
    const known = new Set(passed);
    const judged = [...kinds.values()].filter((kind) => kind.isPlaced || !known.has(kind.key));
    const { violations, incomplete } = await run(judged.map(({ elements: [first] }) => first), options);
    // Of what something covers, say, axe cannot tell.
    const [unsure, failed] = [list(incomplete), list(violations)];
    const others = judged.flatMap(({ elements: [first, ...rest] }) => (unsure.has(first) ? rest : []));
    if (others.length) violations.push(...(await run(others, { ...options, runOnly: { type: "rule", values: [RULE] } })).violations);
    for (const node of violations.flatMap((rule) => rule.nodes)) delete node.element;
    const sure = judged.filter(({ isPlaced, elements: [first] }) => !isPlaced && !unsure.has(first) && !failed.has(first));
    return { violations, passed: sure.map(({ key }) => key) };
}
