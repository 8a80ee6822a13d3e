// The arrows that unfold the contents have no text; a screen reader says which pages they show.
document.addEventListener("DOMContentLoaded", () => {
  for (const arrow of document.querySelectorAll("nav li > details > summary")) {
    arrow.setAttribute("aria-label", `Pages below ${arrow.closest("li").querySelector("a")?.textContent.trim() ?? "this one"}`);
  }
});
