"use strict";
// Shows the images of the page.
(() => {
  const PER_PAGE = 24;
  const { data, element, parts, nameOf, percent, copyOf, pathOf } = globalThis.sslmask;

  const caption = (picture) => {
    const lines = [];
    if (picture.w) lines.push(["note", picture.w]);
    if (picture.t >= 0 && picture.p >= 0) {
      if (picture.t === picture.p) {
        lines.push(["right", `✓ ${nameOf(picture.t)} ${percent(picture.c)}`]);
      } else if (data.factors.length > 1) {
        const label = parts(picture.t), predicted = parts(picture.p);
        data.factors.forEach((factor, i) => {
          if (label[i] !== predicted[i])
            lines.push(["wrong", `${factor.name}: ${factor.classes[label[i]]} → ${factor.classes[predicted[i]]}`]);
        });
        lines.push(["p", `predicted ${percent(picture.c)}, label ${percent(picture.l)}`]);
      } else {
        lines.push(["wrong", `${nameOf(picture.t)} → ${nameOf(picture.p)}`]);
        lines.push(["p", `predicted ${percent(picture.c)}, label ${percent(picture.l)}`]);
      }
    } else if (picture.p >= 0) {
      lines.push(["right", `${nameOf(picture.p)} ${percent(picture.c)}`]);
    }
    return lines;
  };

  const tile = (number) => {
    const picture = data.pictures[number];
    const figure = element("figure", "tile");
    const lines = caption(picture);
    let shown = copyOf(picture, `${picture.n}: ${lines.map((line) => line[1]).join(", ")}`);
    const words = element("figcaption");
    for (const [kind, text] of lines) words.append(element("span", kind, text));
    if (picture.h) {  // maps of where the network looked
      const views = element("div", "views");
      views.append(shown);
      for (const [copy, says] of picture.h) {
        const map = element("img");
        map.src = data.copies[copy];
        map.alt = `Where the network looked, ${says}`;
        views.append(map);
        words.append(element("span", "heat", says));
      }
      figure.classList.add("wide");
      shown = views;
    }
    words.append(pathOf(picture));
    figure.append(shown, words);
    return figure;
  };

  // Pictures of one group stand together, groups in the order of their first picture.
  const gathered = (numbers) => {
    const groups = new Map();
    for (const number of numbers) {
      const group = data.pictures[number].g;
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(number);
    }
    return groups;
  };

  const show = (place, numbers, byGroup, label) => {
    const pages = [];
    if (byGroup) {
      let page = [], size = 0;
      for (const [group, own] of gathered(numbers)) {
        for (let i = 0; i < own.length; i += PER_PAGE) {
          const some = own.slice(i, i + PER_PAGE);
          if (size && size + some.length > PER_PAGE) {
            pages.push(page);
            page = [];
            size = 0;
          }
          page.push([group, some]);
          size += some.length;
        }
      }
      if (page.length) pages.push(page);
    } else {
      for (let i = 0; i < numbers.length; i += PER_PAGE) pages.push([["", numbers.slice(i, i + PER_PAGE)]]);
    }
    const body = element("div", "tiles-all");
    const status = element("span", "status");
    status.setAttribute("role", "status");
    let at = 0;
    const turn = (to) => {
      at = to;
      body.replaceChildren();
      for (const [group, own] of pages[at] ?? []) {
        const tiles = element("div", "tiles");
        tiles.append(...own.map(tile));
        if (byGroup) {
          const block = element("div", "group");
          const head = element("p", "who");
          head.append(element("bdi", "", group || "no group"), ` (${own.length})`);
          block.append(head, tiles);
          body.append(block);
        } else body.append(tiles);
      }
      status.textContent = `page ${at + 1} of ${pages.length}`;
      before.disabled = at === 0;
      after.disabled = at >= pages.length - 1;
    };
    const button = (text, step) => {
      const made = element("button", "", text);
      made.type = "button";
      made.setAttribute("aria-label", `${label}: ${step < 0 ? "previous" : "next"} page`);
      made.addEventListener("click", () => turn(at + step));
      return made;
    };
    const before = button("‹ previous", -1), after = button("next ›", 1);
    place.replaceChildren(body);
    if (pages.length > 1) {
      const bar = element("div", "pager");
      bar.append(before, status, after);
      place.append(bar);
    }
    turn(0);
  };

  for (const place of document.querySelectorAll(".gallery[data-items]")) {
    const numbers = place.dataset.items ? place.dataset.items.split(",").map(Number) : [];
    show(place, numbers, "byGroup" in place.dataset, place.dataset.label);
  }

  globalThis.sslmask.tile = tile;  // for the map of explore

  const dialog = document.getElementById("images");
  const ofCell = (factor, label, predicted) => {
    const found = [];
    data.pictures.forEach((picture, number) => {
      if (picture.t < 0 || picture.p < 0 || picture.w) return;
      const t = factor < 0 ? picture.t : parts(picture.t)[factor];
      const p = factor < 0 ? picture.p : parts(picture.p)[factor];
      if (t === label && p === predicted) found.push(number);
    });
    return found.sort((a, b) => data.pictures[a].l - data.pictures[b].l);
  };
  for (const button of document.querySelectorAll("button[data-true]")) {
    button.addEventListener("click", () => {
      const { factor, true: label, predicted, count } = button.dataset;
      const numbers = ofCell(Number(factor), Number(label), Number(predicted));
      document.getElementById("images-title").textContent = button.getAttribute("aria-label");
      document.getElementById("images-note").textContent = `${numbers.length} of ${count} shown`;
      show(document.getElementById("images-body"), numbers, data.grouped, "Images of the cell");
      dialog.showModal();
    });
  }
  document.getElementById("close").addEventListener("click", () => dialog.close());
})();
