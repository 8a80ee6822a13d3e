// What tests/browser.py asks of a page: each function returns a list of texts, empty where all is well.
const reader = {
  // figures, formulas, tables and images that show nothing (yet)
  unfinished() {
    const faults = (selector, isFault, say) => [...document.querySelectorAll(selector)].filter(isFault).map(say);
    const drawn = ".cartesianlayer .trace path, .cartesianlayer image, .trace, canvas, .table";
    return [
      ...faults("div.plotly-figure", box => {
        const place = box.querySelector(".js-plotly-plot");
        return !place?.data?.length || place.getBoundingClientRect().height < 100 || !place.querySelector(drawn);
      }, box => `an empty figure: ${box.innerText.slice(0, 80)}`),
      ...faults(".math", formula => !formula.querySelector("mjx-container svg") || formula.querySelector("mjx-merror, [data-mjx-error]"),
        formula => `a formula that is not typeset: ${formula.textContent.trim().slice(0, 80)}`),
      ...faults("table[id^=itables]", table => !table.closest(".dt-container") || table.querySelectorAll("tbody td").length < 2,
        table => `an empty table: ${table.id}`),
      ...faults("img", image => image.complete && !image.naturalWidth && image.loading !== "lazy",
        image => `an image that is not there: ${image.src}`),
    ];
  },

  // figures are drawn anew for another theme
  dressed() {
    const ink = getComputedStyle(document.documentElement).getPropertyValue("--pst-color-text-base").trim();
    return [...document.querySelectorAll(".plotly-figure .js-plotly-plot")].every(place => place.layout?.template?.layout?.font?.color === ink);
  },

  // the page scrolls to the side
  tooWide() {
    const width = document.documentElement.clientWidth, all = document.documentElement.scrollWidth;
    if (all <= width) return [];
    const out = [...document.querySelectorAll("main *")].filter(element => element.getBoundingClientRect().right > width + 1);
    return [`${all} px wide: ${out.slice(0, 3).map(element => element.outerHTML.slice(0, 120)).join(" ")}`];
  },

  // what follows the width of the window has followed it
  settled() {
    const wide = [...document.querySelectorAll("[tabindex='-1']")].some(element => element.scrollWidth > element.clientWidth);
    return !wide && !this.tooWide().length;
  },

  // text of drawings, which axe-core does not look at, too close in colour to the page below it (WCAG's contrast)
  faintInk() {
    const texts = ".xtick text, .ytick text, .xtitle, .ytitle, .gtitle, .legendtext, .legendtitletext, svg[role=img] text";
    const channels = colour => { const found = (colour.match(/[\d.]+/g) ?? [0, 0, 0]).map(Number); return [...found, 1].slice(0, 4); };
    const linear = value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
    const luminance = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
    const faults = new Set();
    for (const text of document.querySelectorAll(texts)) {
      if (!text.textContent.trim() || text.closest("[data-own-ground]")) continue;
      const style = getComputedStyle(text);
      const ground = channels(this.ground(text.closest("svg").parentElement));
      const ink = channels(style.fill), alpha = ink[3] * style.fillOpacity * style.opacity;
      const seen = ink.map((value, i) => value * alpha + ground[i] * (1 - alpha));
      const [dark, light] = [luminance(ground), luminance(seen)].sort((a, b) => a - b);
      const contrast = (light + 0.05) / (dark + 0.05);
      if (contrast < 4.5) faults.add(`contrast ${contrast.toFixed(1)}, ${style.fill} on ${ground.slice(0, 3)}: ${text.textContent.slice(0, 40)}`);
    }
    return [...faults];
  },

  ground(element) {
    for (; element; element = element.parentElement) {
      const { backgroundColor } = getComputedStyle(element);
      if (!/^rgba\(.*, 0\)$|^transparent$/.test(backgroundColor)) return backgroundColor;
    }
    return "rgb(255, 255, 255)";
  },

  // one or two elements of each colour, ground and size that text has: axe-core takes a minute to see the contrast of every word
  specimens() {
    const found = new Map();
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      const element = walk.currentNode.parentElement;
      if (!walk.currentNode.data.trim() || element.closest("svg, script, style, mjx-container") || !element.checkVisibility()) continue;
      const style = getComputedStyle(element);
      const key = [style.color, this.ground(element), getComputedStyle(element.parentElement).color, style.fontSize, style.fontWeight, style.opacity].join();
      const same = found.get(key) ?? [];
      if (same.length < 2) found.set(key, [...same, element]);
    }
    return [...found.values()].flat();
  },

  // Take out what axe-core looks at for long and has nothing to say on: the strokes of drawings, and the colour of each word
  // of code but for two of a kind. Figures become pictures that no longer follow the page.
  simplify() {
    const seen = {};
    for (const word of document.querySelectorAll("pre span")) {
      seen[word.className] = (seen[word.className] ?? 0) + 1;
      if (seen[word.className] > 2) word.replaceWith(word.textContent);
    }
    for (const box of document.querySelectorAll("div.plotly-figure")) {
      const copy = box.cloneNode(true);
      copy.classList.remove("plotly-figure");
      box.replaceWith(copy);
    }
    document.querySelectorAll("svg.main-svg, mjx-container svg").forEach(drawing => drawing.replaceChildren());
    return [];
  },

  // what axe-core finds serious or critical; its rules on colours look at the specimens only
  async axe(kind) {
    const colours = ["color-contrast", "link-in-text-block"];
    const aside = [...colours, "region"]; // never more than moderate, and slow
    const rules = kind === "colours" ? { runOnly: colours } : { rules: Object.fromEntries(aside.map(id => [id, { enabled: false }])) };
    const place = kind === "colours" ? { include: this.specimens() } : document;
    const found = await axe.run(place, { resultTypes: ["violations"], preload: false, ...rules });
    return found.violations.filter(({ impact }) => ["serious", "critical"].includes(impact)).flatMap(({ id, help, nodes }) =>
      nodes.map(({ html, target, any, all, none }) => {
        const why = [...any, ...all, ...none].map(check => check.message).join("; ");
        return `${id}, ${help}: ${html.slice(0, 200)} at ${target}: ${why}`;
      }));
  },
};
