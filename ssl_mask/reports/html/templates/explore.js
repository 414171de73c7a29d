"use strict";
// The map of images.
(() => {
  const { data, element, tile } = globalThis.sslmask;
  const map = data.map;
  if (!map) return;
  const plot = document.getElementById("map-plot"), choice = document.getElementById("map-by");
  const legend = document.getElementById("map-legend"), place = document.getElementById("map-tile");
  const COLOURS = 6, REACH = 40;
  const SHAPES = [
    "M-6,0a6,6 0 1,0 12,0a6,6 0 1,0 -12,0", "M-6,-6h12v12h-12z", "M0,-8l8,14h-16z",
  ];

  const drawn = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    return made;
  };
  // 0 is grey; each other value has a colour, and another shape when the colours are used up.
  const styleOf = (value) => (value === 0 ? "point" : `point c${(value - 1) % COLOURS}`);
  const shapeOf = (value) => SHAPES[value === 0 ? 0 : Math.floor((value - 1) / COLOURS) % SHAPES.length];

  const points = map.x.map((x, i) => drawn("path", { transform: `translate(${x},${map.y[i]})` }));
  const ring = drawn("circle", { class: "ring", r: 13, visibility: "hidden" });
  plot.append(...points, ring);
  let at = -1, only = -1, way = map.by[0];

  const colour = () => {
    points.forEach((point, i) => {
      const value = way.values[i];
      point.setAttribute("d", shapeOf(value));
      point.setAttribute("class", styleOf(value) + (only >= 0 && value !== only ? " faint" : ""));
    });
  };
  const show = (i) => {
    if (i === at || i < 0) return;
    at = i;
    ring.setAttribute("cx", map.x[i]);
    ring.setAttribute("cy", map.y[i]);
    ring.setAttribute("visibility", "visible");
    const words = map.by.map((each) => `${each.title}: ${each.names[each.values[i]]}`);
    if (map.groups[i]) words.push(`group ${map.groups[i]}`);
    const shown = map.pictures[i] >= 0 ? [tile(map.pictures[i])]
      : [element("p", "gone", "no small copy"), element("bdi", "", map.names[i])];
    const list = element("div", "tile");
    for (const text of words) list.append(element("p", "p", text));
    place.replaceChildren(...shown, list);
  };
  const explain = () => {
    legend.replaceChildren();
    way.names.forEach((name, value) => {
      const count = way.values.filter((own) => own === value).length;
      if (!count) return;
      const button = element("button"), key = drawn("svg", { viewBox: "-8 -8 16 16", "aria-hidden": "true" });
      key.append(drawn("path", { d: shapeOf(value), class: styleOf(value) }));
      button.type = "button";
      button.setAttribute("aria-pressed", String(only === value));
      button.append(key, element("bdi", "", name), ` (${count})`);
      button.addEventListener("click", () => {
        only = only === value ? -1 : value;
        for (const other of legend.querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
        button.setAttribute("aria-pressed", String(only === value));
        colour();
      });
      const item = element("li");
      item.append(button);
      legend.append(item);
    });
  };

  const visible = (i) => only < 0 || way.values[i] === only;
  // The nearest image that `fits`, by its distance in the plane.
  const nearest = (x, y, fits) => {
    let best = -1, least = Infinity;
    for (let i = 0; i < points.length; i++) {
      const dx = map.x[i] - x, dy = map.y[i] - y, far = dx * dx + dy * dy;
      if (far < least && visible(i) && fits(dx, dy, i)) {
        least = far;
        best = i;
      }
    }
    return best;
  };
  const point = (event) => {
    const matrix = plot.getScreenCTM();
    if (!matrix) return;
    const where = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    show(nearest(where.x, where.y, (dx, dy) => dx * dx + dy * dy <= REACH * REACH));
  };
  plot.addEventListener("pointermove", point);
  plot.addEventListener("pointerdown", point);
  const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  plot.addEventListener("keydown", (event) => {
    const step = WAYS[event.key];
    if (!step) return;
    event.preventDefault();
    const along = (dx, dy) => dx * step[0] + dy * step[1], across = (dx, dy) => Math.abs(dx * step[1]) + Math.abs(dy * step[0]);
    show(nearest(map.x[at], map.y[at], (dx, dy, i) => i !== at && along(dx, dy) > 0 && along(dx, dy) >= across(dx, dy)));
  });
  plot.addEventListener("focus", () => {
    if (at < 0) show(nearest(500, 500, () => true));
  });
  map.by.forEach((each, i) => {
    const option = element("option", "", each.title);
    option.value = String(i);
    choice.append(option);
  });
  choice.addEventListener("change", () => {
    way = map.by[Number(choice.value)];
    only = -1;
    explain();
    colour();
  });
  explain();
  colour();
})();
