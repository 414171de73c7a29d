"use strict";
// What the scripts of all pages share: the data, elements, names of classes, images. Every text goes through
// textContent, so no name can become markup.
globalThis.sslmask = (() => {
  const data = JSON.parse(document.getElementById("data").textContent);

  const element = (tag, className, text) => {
    const made = document.createElement(tag);
    if (className) made.className = className;
    if (text !== undefined) made.textContent = text;
    return made;
  };
  // A text of its own direction: a name may be written from right to left.
  const bdi = (tag, className, text) => {
    const made = element(tag, className);
    made.append(element("bdi", "", text));
    return made;
  };

  // The classes of each factor of a joint class: mixed radix, the last factor fastest.
  const parts = (joint) => {
    const found = [];
    for (let i = data.factors.length - 1; i >= 0; i--) {
      const size = data.factors[i].classes.length;
      found.unshift(joint % size);
      joint = Math.floor(joint / size);
    }
    return found;
  };
  const nameOf = (joint) => parts(joint).map((own, i) => data.factors[i].classes[own]).join("/");
  const percent = (share) => (share === null ? "" : `${Math.round(100 * share)}\u00a0%`);

  // The small copy of an image, linked to its file where the page may; the end of its path.
  const copyOf = (picture, alt) => {
    let shown = element("div", "gone", "no image");
    if (picture.s >= 0) {
      shown = element("img");
      shown.src = data.copies[picture.s];
      shown.alt = alt;
    }
    if (!picture.u) return shown;
    const link = element("a");
    link.href = picture.u;
    link.append(shown);
    return link;
  };
  const pathOf = (picture) => {
    const path = bdi("span", "path", picture.n.split("/").pop());
    path.title = picture.n;
    return path;
  };
  return { data, element, bdi, parts, nameOf, percent, copyOf, pathOf };
})();
