// Draws the Plotly figures of a page in the colours of the page, again whenever these change.
(() => {
  "use strict";

  function colours() {
    const page = getComputedStyle(document.documentElement);
    return {
      text: page.getPropertyValue("--pst-color-text-base").trim() || "#222",
      grid: page.getPropertyValue("--pst-color-border").trim() || "#ccc",
      ground: page.getPropertyValue("--pst-color-background").trim() || "#fff",
      font: getComputedStyle(document.body).fontFamily,
    };
  }

  function dress(layout) {
    const { text, grid, ground, font } = colours();
    const template = structuredClone(layout.template ?? {});
    const base = (template.layout ??= {});
    const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, tickcolor: grid };
    base.paper_bgcolor = base.plot_bgcolor = "rgba(0,0,0,0)";
    base.font = { ...base.font, color: text, family: font };
    base.hoverlabel = { bgcolor: ground, bordercolor: grid, font: { color: text, family: font } };
    for (const name of ["xaxis", "yaxis"]) base[name] = { ...base[name], ...axis };
    base.scene ??= {};
    for (const name of ["xaxis", "yaxis", "zaxis"]) {
      base.scene[name] = { ...base.scene[name], ...axis, backgroundcolor: "rgba(0,0,0,0)" };
    }
    return { ...layout, template };
  }

  // Bodies beside each other are drawn as high as there is room; where it is narrow, as on a phone, their arms would be cut off.
  function fit(layout, width) {
    const scenes = Object.keys(layout).filter(name => /^scene\d*$/.test(name) && layout[name].aspectratio);
    const scale = Math.min(1, width / scenes.length / (0.45 * (layout.height ?? 450)));
    for (const name of scenes) {
      const { x, y, z } = layout[name].aspectratio;
      layout[name].aspectratio = { x: x * scale, y: y * scale, z: z * scale };
    }
    return layout;
  }

  // what a screen reader says of a figure: its title, or what its axes show
  function label({ layout = {} }) {
    const axes = ["yaxis", "xaxis"].map(name => layout[name]?.title?.text).filter(Boolean).join(" against ");
    const text = layout.title?.text || axes || layout.meta?.description || "";
    return `Figure${text && ": "}${text.replace(/<br>/g, ", ").replace(/<[^>]*>/g, "")}`;
  }

  function draw(box) {
    const figure = JSON.parse(box.querySelector("script").textContent);
    const place = box.querySelector(".plotly-place") ?? box.appendChild(document.createElement("div"));
    place.className = "plotly-place";
    place.style.minWidth = box.dataset.minWidth ? `${box.dataset.minWidth}px` : ""; // the box scrolls, not the page
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", label(figure));
    Plotly.newPlot(place, {
      data: figure.data,
      layout: fit(dress(figure.layout ?? {}), box.clientWidth),
      frames: figure.frames ?? [],
      config: {
        responsive: true,
        displaylogo: false,
        displayModeBar: figure.frames?.length ? false : "hover", // an animation has its own controls
        showSendToCloud: false,
        plotlyServerURL: "",
      },
    });
    place.on("plotly_click", openChapter);
  }

  // A mark that stands for a network leads to its chapter; one notebook is one module, so its name tells where that is.
  function openChapter({ points: [{ data }] }) {
    const module = data.meta?.module;
    if (module) location.href = `${document.documentElement.dataset.content_root}${module.replace("deeprehab_nb", "nbs").replaceAll(".", "/")}.html`;
  }

  const drawAll = () => document.querySelectorAll("div.plotly-figure").forEach(draw);
  drawAll();
  new MutationObserver(drawAll).observe(document.documentElement, { attributeFilter: ["data-theme"] });
})();
