"use strict";
// Asks about one label after the other.
(() => {
  const { data, element, bdi, nameOf, percent, copyOf, pathOf } = globalThis.sslmask;
  const questions = data.questions;
  if (!questions.length) return;
  const at = (id) => document.getElementById(id);
  const store = `sslmask-review-${data.digest}`;
  const UNSURE = "unsure about ";

  // ---- decisions: key of a question -> {d: keep|change|exclude|unsure, to: class, reason}, or null where one was undone
  const keyOf = (q) => JSON.stringify([q.k, q.n, data.factors[q.f].raw]);
  const byKey = new Map(questions.map((q, i) => [keyOf(q), i]));
  let state = { decisions: {}, history: [], reviewer: "", rest: [], read: "" };
  let order = [];
  let place = 0;

  const trouble = (text) => {
    at("trouble").textContent = text;
    at("trouble").hidden = !text;
  };
  const load = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(store));
      if (kept && typeof kept.decisions === "object" && Array.isArray(kept.rest)) state = { ...state, ...kept };
    } catch (error) {
      trouble("This browser keeps no progress for files: download corrections.csv before you close the page.");
    }
  };
  const save = () => {
    try {
      localStorage.setItem(store, JSON.stringify(state));
    } catch (error) {
      trouble("This browser keeps no progress for files: download corrections.csv before you close the page.");
    }
  };
  const decisionOf = (q) => state.decisions[keyOf(q)] ?? null;
  const decide = (q, decision) => {
    const key = keyOf(q);
    state.history.push([key, state.decisions[key] ?? null]);
    state.history = state.history.slice(-500);
    state.decisions[key] = decision;
    save();
  };

  // ---- CSV, as ssl_mask.text.inert and csv_text write it and ssl_mask.data.corrections reads it
  const FORMULA = /^'*[\x00-\x20]*(?:[=@\uff1d\uff20]|[+\-\uff0b\uff0d](?![\d.]+$))/;
  const inert = (cell) => (FORMULA.test(cell) ? `'${cell}` : cell);
  const fromInert = (cell) => (cell.startsWith("'") && FORMULA.test(cell) ? cell.slice(1) : cell);
  const quoted = (cell) => (/[",;\t|\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  // Without a prototype: a column may be called `constructor`.
  const record = (own) => Object.assign(Object.create(null), own);
  const plain = (cell) => fromInert(cell.trim()).normalize("NFC").trim();

  const cellsOf = (text, delimiter) => {
    const rows = [];
    let row = [], cell = "", inside = false;
    for (let i = 0; i < text.length; i++) {
      const c = text[i];
      if (inside) {
        if (c !== '"') cell += c;
        else if (text[i + 1] === '"') cell += text[++i];
        else inside = false;
      } else if (c === '"' && cell === "") inside = true;
      else if (c === delimiter) row.push(cell), (cell = "");
      else if (c === "\n" || c === "\r") {
        if (c === "\r" && text[i + 1] === "\n") i++;
        rows.push([...row, cell]);
        row = [];
        cell = "";
      } else cell += c;
    }
    if (cell !== "" || row.length) rows.push([...row, cell]);
    return rows.filter((cells) => cells.some((own) => own.trim() !== ""));
  };
  // Rows as {column: text}. Throws an Error in words where it is no such table.
  const tableOf = (text) => {
    if (/^sep=.\r?\n/.test(text)) text = text.slice(text.indexOf("\n") + 1);
    for (const delimiter of [",", ";", "\t", "|"]) {
      const [head, ...rows] = cellsOf(text, delimiter);
      const header = (head ?? []).map(plain);
      if (!header.includes("path") && !header.includes("group")) continue;
      if (header.length === 1) continue;
      return rows.map((cells, i) => {
        if (cells.length !== header.length)
          throw new Error(`row ${i + 2} has ${cells.length} cells, but the header has ${header.length}`);
        return record(Object.fromEntries(header.map((name, j) => [name, plain(cells[j])])));
      });
    }
    throw new Error("its header has no path and no group");
  };

  // What an older table says of the questions of this page becomes decisions; the rest of it is kept as it is.
  const YES = ["yes", "1", "true", "x"];
  const take = (rows, chosen) => {
    const rest = [];
    let taken = 0;
    for (const row of rows) {
      const kind = row.path ? "path" : "group";
      const left = record(row), before = taken;
      let reasons = (row.reason ?? "").split("; ").filter(Boolean);
      const own = data.factors.map((factor, f) => [factor, f, byKey.get(JSON.stringify([kind, row[kind], factor.raw]))])
        .filter(([, , number]) => number !== undefined);
      const excluded = data.notes.includes("exclude") && YES.includes((row.exclude ?? "").toLowerCase());
      const why = reasons.filter((text) => !text.startsWith(UNSURE)).join("; ");
      for (const [factor, , number] of own) {
        const q = questions[number];
        const to = factor.rawClasses.indexOf(row[factor.raw] ?? "");
        let decision = null;
        if (excluded) decision = { d: "exclude", reason: why };
        else if (to >= 0) decision = { d: to === q.l ? "keep" : "change", to, reason: why };
        else if (reasons.includes(UNSURE + factor.raw)) decision = { d: "unsure", reason: why };
        if (!decision) continue;
        reasons = reasons.filter((text) => text !== UNSURE + factor.raw);
        // What was decided on this page goes first; a file that is chosen now may fill what was undone.
        if (chosen ? !decisionOf(q) : !(keyOf(q) in state.decisions)) state.decisions[keyOf(q)] = decision;
        left[factor.raw] = "";
        if (excluded) left.exclude = "";
        taken++;
      }
      if (taken > before && data.notes.includes("reason")) left.reason = reasons.filter((t) => t.startsWith(UNSURE)).join("; ");
      const says = Object.entries(left).some(([name, cell]) => cell && !["path", "group", "reviewer"].includes(name));
      if (says) rest.push(left);
    }
    state.rest = merged(state.rest, rest);
    save();
    return [taken, rest.length];
  };
  const targetOf = (row) => JSON.stringify(row.path ? ["path", row.path] : ["group", row.group]);
  const merged = (first, second) => {
    const all = new Map(first.map((row) => [targetOf(row), row]));
    for (const row of second) all.set(targetOf(row), record({ ...all.get(targetOf(row)), ...row }));
    return [...all.values()];
  };

  const corrections = () => {
    const columns = ["path", "group", ...data.factors.map((factor) => factor.raw), ...data.notes];
    const rows = new Map();
    for (const row of state.rest) {
      for (const name of Object.keys(row)) if (!columns.includes(name)) columns.push(name);
      rows.set(targetOf(row), record(row));
    }
    for (const q of questions) {
      const decision = decisionOf(q);
      if (!decision) continue;
      const key = JSON.stringify([q.k, q.n]);
      if (!rows.has(key)) rows.set(key, record({ [q.k]: q.n }));
      const row = rows.get(key), factor = data.factors[q.f];
      const reasons = (row.reason ?? "").split("; ").filter(Boolean);
      const add = (text) => text && !reasons.includes(text) && reasons.push(text);
      if (decision.d === "keep") row[factor.raw] = factor.rawClasses[q.l];
      if (decision.d === "change") row[factor.raw] = factor.rawClasses[decision.to];
      if (decision.d === "exclude") row.exclude = "yes";
      if (decision.d === "unsure") add(UNSURE + factor.raw);
      add(decision.reason);
      if (data.notes.includes("reason")) row.reason = reasons.join("; ");
      if (data.notes.includes("reviewer") && state.reviewer) row.reviewer = state.reviewer;
    }
    const lines = [columns, ...[...rows.values()].map((row) => columns.map((name) => row[name] ?? ""))];
    return lines.map((cells) => `${cells.map((cell) => quoted(inert(cell))).join(",")}\n`).join("");
  };

  // ---- what is seen
  const tile = (number) => {
    const picture = data.pictures[number];
    const figure = element("figure", "tile");
    const words = element("figcaption");
    if (picture.t >= 0) words.append(bdi("span", "", nameOf(picture.t)));
    words.append(pathOf(picture));
    figure.append(copyOf(picture, picture.n), words);
    return figure;
  };

  const current = () => questions[order[place]];
  const inWords = (q, decision) => {
    if (!decision) return "Not yet decided";
    const classes = data.factors[q.f].classes;
    if (decision.d === "keep") return `Keep: ${classes[q.l]}`;
    if (decision.d === "change") return `Change to: ${classes[decision.to]}`;
    return decision.d === "exclude" ? "Exclude" : "Unsure";
  };
  const button = (number, q, decision) => {
    const made = element("button", "");
    made.type = "button";
    if (number < 9) made.append(element("kbd", "", String(number + 1)), " ");
    made.append(element("bdi", "", data.factors[q.f].classes[number]));
    if (number === q.s) made.classList.add("suggested");
    if (decision && decision.d === "change" && decision.to === number) made.classList.add("taken");
    made.addEventListener("click", () => change(number));
    return made;
  };
  const list = (q, decision) => {
    const made = element("select");
    made.setAttribute("aria-label", "Change to");
    made.append(new Option("change to …", ""));
    data.factors[q.f].classes.forEach((name, i) => made.append(new Option(name, String(i))));
    made.value = decision && decision.d === "change" ? String(decision.to) : "";
    made.addEventListener("change", () => made.value !== "" && (made.blur(), change(Number(made.value))));
    return made;
  };
  const show = () => {
    const done = questions.filter((q) => decisionOf(q)).length;
    at("bar").value = done;
    at("count").textContent = `${done} of ${questions.length} decided`;
    const q = current();
    document.querySelector(".question").hidden = !q;
    at("none").hidden = Boolean(q);
    at("undo").disabled = !state.history.length;
    if (!q) return;
    const factor = data.factors[q.f], decision = decisionOf(q);
    at("place").textContent = `${place + 1} of ${order.length}`;
    at("who").replaceChildren(element("bdi", "", q.w));
    at("claim").replaceChildren(
      element("strong", "", factor.name), " is labeled ", bdi("strong", "", factor.classes[q.l]), ` (${percent(q.pl)}), predicted `,
      bdi("strong", "", factor.classes[q.s]), ` (${percent(q.ps)}${q.m > 1 ? `, mean of ${q.m} images` : ""})`,
    );
    at("more").textContent = [
      q.sure ? `The model is as sure of ${factor.classes[q.s]} as it usually is.` : "The model is less sure than it usually is.",
      q.c ? `Cleanlab: place ${q.c} in its list of images.` : "",
      q.x.length < q.m ? `${q.x.length} of ${q.m} images are shown.` : "",
    ].filter(Boolean).join(" ");
    at("images").replaceChildren(...q.x.map(tile));
    at("others").replaceChildren(...q.o.map(tile));
    at("others-part").hidden = !q.o.length;
    at("decision").textContent = inWords(q, decision);
    const many = factor.classes.length > 9;
    at("change").replaceChildren(...(many ? [list(q, decision)] : factor.classes.map((_, i) => i).filter((i) => i !== q.l).map((i) => button(i, q, decision))));
    for (const id of ["keep", "exclude", "unsure"]) at(id)?.classList.toggle("taken", decision?.d === id);
    if (at("reason")) at("reason").value = decision?.reason ?? "";
    at("before").disabled = place === 0;
    at("after").disabled = place >= order.length - 1;
  };
  const filtered = (stay) => {
    const [factor, label, suggested, kind] = ["by-factor", "by-class", "by-suggested", "by-state"].map((id) => at(id).value);
    const fits = (q) => {
      const decision = decisionOf(q), classes = data.factors[q.f].classes;
      return (factor === "" || q.f === Number(factor)) && (label === "" || classes[q.l] === label)
        && (suggested === "" || classes[q.s] === suggested)
        && (kind === "" || (kind === "open" ? !decision : decision?.d === kind));
    };
    order = questions.map((_, i) => i).filter((i) => fits(questions[i]));
    place = Math.max(0, stay === undefined ? 0 : order.indexOf(stay));
    show();
  };
  const classesAsked = () => {
    const factor = at("by-factor").value;
    for (const [id, side] of [["by-class", "l"], ["by-suggested", "s"]]) {
      const names = new Set();
      for (const q of questions) if (factor === "" || q.f === Number(factor)) names.add(data.factors[q.f].classes[q[side]]);
      const before = at(id).value;
      at(id).replaceChildren(new Option("any class", ""), ...[...names].map((name) => new Option(name, name)));
      at(id).value = names.has(before) ? before : "";
    }
  };

  // ---- what is done
  const settle = (decision) => {
    const q = current();
    if (!q) return;
    const reason = at("reason")?.value.trim() ?? "";
    decide(q, { ...decision, reason });
    const next = order.findIndex((i, n) => n > place && !decisionOf(questions[i]));
    const said = `${inWords(q, decisionOf(q))}. `;
    if (next >= 0) place = next;
    show();
    if (next >= 0) at("decision").textContent = `${said}Next: ${inWords(current(), decisionOf(current())).toLowerCase()}`;
  };
  const change = (to) => settle(current() && to === current().l ? { d: "keep" } : { d: "change", to });
  const undo = () => {
    const last = state.history.pop();
    if (!last) return;
    const [key, before] = last;
    state.decisions[key] = before;
    save();
    if (!order.includes(byKey.get(key))) ["by-factor", "by-class", "by-suggested", "by-state"].forEach((id) => (at(id).value = ""));
    filtered(byKey.get(key));
  };
  const move = (step) => {
    place = Math.min(Math.max(0, place + step), Math.max(0, order.length - 1));
    show();
  };
  const acts = {
    k: () => settle({ d: "keep" }), x: () => at("exclude") && settle({ d: "exclude" }), u: () => settle({ d: "unsure" }),
    z: undo, c: () => at("change").querySelector(".suggested, select, button")?.focus(),
    ArrowLeft: () => move(-1), ArrowRight: () => move(1),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !at("keys").checked) return;
    const typing = event.target.closest("input:not([type=checkbox]), select, textarea");
    if (typing) {
      if (event.key === "Escape" || (event.key === "Enter" && event.target.id === "reason")) event.target.blur();
      return;
    }
    const number = /^[1-9]$/.test(event.key) ? Number(event.key) - 1 : -1;
    const q = current();
    if (number >= 0 && q && number < data.factors[q.f].classes.length) change(number);
    else if (Object.hasOwn(acts, event.key.length === 1 ? event.key.toLowerCase() : event.key))
      acts[event.key.length === 1 ? event.key.toLowerCase() : event.key]();
    else return;
    event.preventDefault();
  });
  at("keep").addEventListener("click", acts.k);
  at("exclude")?.addEventListener("click", acts.x);
  at("unsure").addEventListener("click", acts.u);
  at("undo").addEventListener("click", undo);
  at("before").addEventListener("click", acts.ArrowLeft);
  at("after").addEventListener("click", acts.ArrowRight);
  at("reason")?.addEventListener("change", () => {
    const q = current(), decision = q && decisionOf(q);
    if (!decision) return;
    state.decisions[keyOf(q)] = { ...decision, reason: at("reason").value.trim() };
    save();
  });
  at("reviewer")?.addEventListener("change", () => {
    state.reviewer = at("reviewer").value.trim();
    save();
  });
  for (const id of ["by-factor", "by-class", "by-suggested", "by-state"])
    at(id).addEventListener("change", () => {
      if (id === "by-factor") classesAsked();
      filtered();
    });
  at("download").addEventListener("click", () => {
    const link = element("a");
    const address = URL.createObjectURL(new Blob([corrections()], { type: "text/csv;charset=utf-8" }));
    link.href = address;
    link.download = "corrections.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
    at("saved").textContent = "Saved corrections.csv.";
  });
  at("older").addEventListener("change", async () => {
    const [file] = at("older").files;
    if (!file) return;
    try {
      const [taken, rest] = take(tableOf((await file.text()).replace(/^\ufeff/, "")), true);
      at("saved").textContent = `Read ${file.name}: ${taken} decisions of this page, ${rest} other rows that will be saved again.`;
    } catch (error) {
      at("saved").textContent = `${file.name} cannot be read: ${error.message}.`;
    }
    at("older").value = "";
    filtered(order[place]);
  });
  at("forget").addEventListener("click", () => {
    if (!confirm("Forget all decisions that this browser keeps for these labels?")) return;
    state = { decisions: {}, history: [], reviewer: state.reviewer, rest: [], read: "" };
    begin();
    save();
    filtered();
  });

  const begin = () => {
    if (!data.earlier || state.read === data.earlier) return;
    state.read = data.earlier;
    take(tableOf(data.earlier), false);
  };
  load();
  begin();
  if (at("reviewer")) at("reviewer").value = state.reviewer;
  classesAsked();
  filtered();
  const open = order.findIndex((i) => !decisionOf(questions[i]));
  if (open > 0) {
    place = open;
    show();
  }
})();
