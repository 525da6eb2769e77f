// Unpacks the plotting library that this page carries, draws the charts, and keeps their colours those of the page.
(async () => {
  const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);

  const dark = matchMedia("(prefers-color-scheme: dark)");
  const colours = () => {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(name).trim();
  };
  // charts name their colours as the style sheet does: "var(--old)"; the library wants values
  const painted = (value, colour) =>
    typeof value === "string" && value.startsWith("var(") ? colour(value.slice(4, -1))
      : Array.isArray(value) ? value.map((one) => painted(one, colour))
      : value && typeof value === "object"
        ? Object.fromEntries(Object.entries(value).map(([name, one]) => [name, painted(one, colour)]))
        : value;
  const draw = () => {
    const colour = colours();
    for (const data of document.querySelectorAll("script.figure")) {
      const figure = painted(JSON.parse(data.textContent), colour);
      Plotly.react(data.previousElementSibling, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    }
  };
  draw();
  dark.addEventListener("change", draw);
  document.documentElement.dataset.drawn = "yes";
})();
