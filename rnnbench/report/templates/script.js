"use strict";
// Sorts, filters, searches and copies the ranking from the data at the end of the page, and lets figures and rows
// point at each other. Loads nothing, sends nothing, builds text nodes only. The page has the first rows already:
// the data, which may be megabytes, is read when somebody asks for others.
(() => {
  const THEMES = { auto: "as the system", light: "light", dark: "dark" };
  const root = document.documentElement;
  let theme = "auto";
  try {
    theme = localStorage.getItem("rnnbench-theme") in THEMES ? localStorage.getItem("rnnbench-theme") : theme;
  } catch { /* a browser may deny storage to files: the choice then lasts as long as the page */ }

  function wear() {
    if (theme === "auto") delete root.dataset.theme;
    else root.dataset.theme = theme;
  }

  wear(); // before anything is painted

  function startTheme(button) {
    const say = () => { button.textContent = `Colours: ${THEMES[theme]}`; };
    button.hidden = false;
    say();
    button.addEventListener("click", () => {
      const names = Object.keys(THEMES);
      theme = names[(names.indexOf(theme) + 1) % names.length];
      try { localStorage.setItem("rnnbench-theme", theme); } catch { /* as above */ }
      wear();
      say();
    });
  }

  // ---- rows and figures

  function startTracing(main) {
    let traced = null;
    const trace = (target) => {
      const at = target?.closest?.("[data-series]") ?? null;
      if (at === traced) return;
      traced = at;
      const names = at ? [at.dataset.series, at.dataset.network].filter(Boolean) : [];
      const drawn = [...main.querySelectorAll("figure svg [data-series]")];
      for (const each of drawn) each.classList.toggle("lit", names.includes(each.dataset.series));
      main.classList.toggle("tracing", drawn.some((each) => each.classList.contains("lit")));
      const row = at instanceof HTMLElement;
      for (const each of main.querySelectorAll("#ranked tr[data-series]")) {
        const same = names.includes(each.dataset.series) || names.includes(each.dataset.network);
        each.classList.toggle("lit", row ? each === at : at !== null && same);
      }
    };
    main.addEventListener("pointerover", (event) => trace(event.target));
    main.addEventListener("pointerleave", () => trace(null));
    main.addEventListener("focusin", (event) => trace(event.target));
  }

  // ---- the ranking

  function unpack(data) {
    const { columns, groups, axes, numbers: numberNames, shown, words } = data;
    const rows = data.rows.map(
      ([key, group, places, numbers, cells, status, reason, findings, raw, best], order) => ({
        key, group: groups[group], groupNumber: group, places, numbers, cells, raw, best, order,
        status: words[status], reason: words[reason], findings: findings.map((each) => words[each]),
      }),
    );
    return { columns, axes, axisNames: Object.keys(axes), numberNames, shown, rows };
  }

  function startRanking(source) {
    let known = null;
    const all = () => (known ??= unpack(JSON.parse(source.textContent)));
    const found = (id) => document.getElementById(id);
    const table = found("ranked");
    const heads = [...table.tHead.rows[0].cells];
    const rowsInAll = Number(table.dataset.rows);
    const search = found("search");
    const state = { q: "", sort: "", down: false, leaf: 0, chosen: {} };
    let chosenRows = null;
    const kept = () => chosenRows ?? all().rows;

    function searched(row) {
      const { axes, axisNames } = all();
      row.text ??= [
        row.group[0], ...row.cells, row.status, row.reason, ...row.findings, row.key,
        ...row.places.map((place, axis) => axes[axisNames[axis]][place]),
      ].join(" ").toLowerCase();
      return row.text;
    }

    function choose() {
      const { axisNames, columns, numberNames, rows } = all();
      const wanted = state.q.toLowerCase().split(/\s+/).filter(Boolean);
      const chosen = Object.entries(state.chosen).map(([name, values]) => [axisNames.indexOf(name), values]);
      chosenRows = rows.filter(
        (row) => chosen.every(([axis, values]) => values.has(row.places[axis]))
          && wanted.every((word) => searched(row).includes(word)),
      );
      const at = columns.findIndex(([name]) => name === state.sort);
      if (at < 0) return;
      const by = numberNames.indexOf(columns[at][2]);
      const said = (row) => (columns[at][0] === "status" ? row.status : row.cells[at]);
      const sign = state.down ? -1 : 1;
      chosenRows.sort((one, other) => {
        if (by < 0) return sign * said(one).localeCompare(said(other)) || one.order - other.order;
        const [a, b] = [one.numbers[by], other.numbers[by]];
        if (a === null || b === null) return (a === null) - (b === null) || one.order - other.order;
        return sign * (Number(a) - Number(b)) || one.order - other.order;
      });
    }

    function make(tag, attributes, ...inside) {
      const element = document.createElement(tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      element.append(...inside);
      return element;
    }

    function layNumber(text, raw) {
      const [main, small] = text.split("\n");
      const value = raw
        ? make("details", { class: "raw" }, make("summary", {}, main), make("span", {}, raw))
        : main;
      return make("td", { class: "number" }, value, ...(small ? [make("small", {}, small)] : []));
    }

    function layStatus(row) {
      const chip = make("span", { class: row.status === "ok" ? "chip" : "chip bad" }, row.status);
      const doubts = row.findings.flatMap((word) => [" ", make("span", { class: "chip bad" }, word)]);
      return make("td", { class: "words" }, chip, ...doubts, ...(row.reason ? [` ${row.reason}`] : []));
    }

    function layRow(row) {
      const cells = all().columns.map(([name], index) => {
        const text = row.cells[index];
        if (name === "case") {
          return make("th", { class: "name", scope: "row" }, text, make("small", { class: "of" }, row.group[0]));
        }
        if (name === "status") return layStatus(row);
        if (name === "also") return make("td", { class: "also" }, text);
        return layNumber(text, name === "time" ? row.raw : "");
      });
      const attributes = { "data-series": row.cells[1], "data-network": row.group[3] };
      return make("tr", row.best ? { class: "first", ...attributes } : attributes, ...cells);
    }

    function layGroup([title, note]) {
      const inside = make("div", {}, ...(note ? [`${title} `, make("span", {}, note)] : [title]));
      return make("tr", { class: "group" }, make("th", { colspan: heads.length, scope: "rowgroup" }, inside));
    }

    function show() {
      const { shown } = all();
      const leaves = Math.max(1, Math.ceil(kept().length / shown));
      state.leaf = Math.min(state.leaf, leaves - 1);
      const from = state.leaf * shown;
      const some = kept().slice(from, from + shown);
      const bodies = [];
      let before = null;
      for (const row of some) {
        if (!bodies.length || (!state.sort && row.groupNumber !== before)) {
          bodies.push(make("tbody", {}, ...(state.sort ? [] : [layGroup(row.group)])));
          before = row.groupNumber;
        }
        bodies.at(-1).append(layRow(row));
      }
      for (const body of [...table.tBodies]) body.remove();
      table.append(...bodies);
      frame(from, some.length, kept().length);
    }

    function frame(from, length, keptInAll) {
      table.className = state.sort ? "flat" : "grouped";
      let title = "";
      for (const head of heads) {
        const sorted = head.dataset.column === (state.sort || "rank");
        if (sorted) head.setAttribute("aria-sort", state.down ? "descending" : "ascending");
        else head.removeAttribute("aria-sort");
        if (sorted && state.sort) title = head.textContent;
      }
      table.caption.textContent = title
        ? `All groups together, by ${title}, ${state.down ? "greatest" : "least"} first; times of different groups are of different work`
        : "Cases by group, the best of each first";
      const of = keptInAll === rowsInAll ? "" : ` that were chosen, of ${rowsInAll.toLocaleString("en")} in all`;
      found("count").textContent = keptInAll
        ? `Rows ${from + 1} to ${from + length} of ${keptInAll.toLocaleString("en")}${of}.`
        : `No row of ${rowsInAll.toLocaleString("en")} has all of that.`;
      found("leaves").hidden = length === keptInAll;
      found("back").disabled = from === 0;
      found("on").disabled = from + length === keptInAll;
    }

    // ---- the state, in the fragment of the address

    function written() {
      const { axes } = all();
      const said = new URLSearchParams();
      if (state.q) said.set("q", state.q);
      if (state.sort) said.set("sort", (state.down ? "-" : "") + state.sort);
      if (state.leaf) said.set("leaf", state.leaf + 1);
      for (const [name, values] of Object.entries(state.chosen)) {
        for (const place of values) said.append(`axis.${name}`, axes[name][place]);
      }
      return said.toString();
    }

    function read() {
      const fragment = location.hash.slice(1);
      if (!fragment.includes("=")) return false;
      const { axes, axisNames, columns } = all();
      const said = new URLSearchParams(fragment);
      const sort = said.get("sort") ?? "";
      state.q = said.get("q") ?? "";
      state.down = sort.startsWith("-");
      state.sort = sort.replace(/^-/, "");
      if (!columns.some(([name]) => name === state.sort)) state.sort = "";
      state.leaf = Math.max(0, (Number.parseInt(said.get("leaf"), 10) || 1) - 1);
      state.chosen = {};
      for (const name of axisNames) {
        const values = said.getAll(`axis.${name}`).map((word) => axes[name].indexOf(word));
        if (values.length) state.chosen[name] = new Set(values);
      }
      return true;
    }

    function showControls() {
      const { axes } = all();
      search.value = state.q;
      for (const axis of document.querySelectorAll(".axis")) {
        const name = axis.dataset.axis;
        const chosen = state.chosen[name];
        for (const box of axis.querySelectorAll("input")) box.checked = Boolean(chosen?.has(Number(box.value)));
        axis.classList.toggle("used", Boolean(chosen));
        const said = [...(chosen ?? [])].map((place) => axes[name][place] ?? "nothing");
        axis.querySelector(".chosen").textContent = !chosen ? "all" : said.length === 1 ? said[0].slice(0, 24) : `${said.length} of them`;
      }
    }

    function change(changes) {
      Object.assign(state, { leaf: 0 }, changes);
      choose();
      show();
      showControls();
      const said = written();
      try {
        history.replaceState(null, "", said ? `#${said}` : location.pathname + location.search);
      } catch { /* a notebook's frame has no address of its own */ }
    }

    // ---- copies

    function records() {
      const { axes, axisNames, numberNames } = all();
      return kept().map((row) => ({
        key: row.key,
        ...Object.fromEntries(axisNames.map((name, axis) => [name.replaceAll(" ", "_"), axes[name][row.places[axis]]])),
        phase: row.group[2], reason: row.reason, findings: row.findings.join("; "),
        ...Object.fromEntries(numberNames.map((name, index) => [name, row.numbers[index]])),
      }));
    }

    function asCsv() {
      const chosen = records();
      const names = Object.keys(chosen[0] ?? {});
      const quoted = (value) => {
        if (value === null) return "";
        if (typeof value === "number" || value === "Infinity") return String(value);
        const text = /^[=+\-@]/.test(value) ? `'${value}` : value; // a spreadsheet would compute it
        return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
      };
      return [names, ...chosen.map((each) => Object.values(each))].map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
    }

    function asMarkdown() {
      const { columns } = all();
      const safe = (text) => text.replace(/[\\`*_{}[\]<>|#&~$]/g, "\\$&").replaceAll("\n", " · ");
      const line = (cells) => `| ${cells.join(" | ")} |`;
      const right = columns.map(([, , by]) => (by ? "--:" : "---"));
      const body = kept().map((row) => line([
        safe(row.group[0]),
        ...columns.map(([name], index) => safe(name === "status" ? [row.status, ...row.findings, row.reason].filter(Boolean).join(" ") : row.cells[index])),
      ]));
      return [line(["group", ...columns.map(([, title]) => safe(title))]), line(["---", ...right]), ...body].join("\n") + "\n";
    }

    const FORMATS = {
      CSV: { make: asCsv, type: "text/csv", end: "csv" },
      JSON: { make: () => `${JSON.stringify(records(), null, 1)}\n`, type: "application/json", end: "json" },
      Markdown: { make: asMarkdown, type: "text/markdown", end: "md" },
    };

    async function copy(text, button) {
      const name = button.textContent;
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Your browser forbids it";
      }
      setTimeout(() => { button.textContent = name; }, 1500);
    }

    function download() {
      const format = FORMATS[found("format").value];
      const address = URL.createObjectURL(new Blob([format.make()], { type: `${format.type};charset=utf-8` }));
      make("a", { href: address, download: `ranking.${format.end}` }).click();
      setTimeout(() => URL.revokeObjectURL(address), 1000);
    }

    // ---- what listens

    for (const head of heads) {
      const name = head.dataset.column;
      const button = make("button", { type: "button" }, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        if (name === "rank") change({ sort: "", down: false });
        else change({ sort: name, down: state.sort === name && !state.down });
      });
    }
    search.addEventListener("input", () => change({ q: search.value.trim() }));
    for (const axis of document.querySelectorAll(".axis")) {
      axis.addEventListener("change", () => {
        const boxes = [...axis.querySelectorAll("input:checked")].map((box) => Number(box.value));
        const { [axis.dataset.axis]: _, ...others } = state.chosen;
        change({ chosen: boxes.length ? { ...others, [axis.dataset.axis]: new Set(boxes) } : others });
      });
      axis.addEventListener("keydown", (event) => {
        if (event.key !== "Escape") return;
        axis.open = false;
        axis.querySelector("summary").focus();
      });
    }
    document.addEventListener("click", (event) => {
      for (const axis of document.querySelectorAll(".axis[open]")) {
        if (!axis.contains(event.target)) axis.open = false;
      }
    });
    found("clear").addEventListener("click", () => change({ q: "", sort: "", down: false, chosen: {} }));
    found("back").addEventListener("click", () => change({ leaf: state.leaf - 1 }));
    found("on").addEventListener("click", () => change({ leaf: state.leaf + 1 }));
    found("link").addEventListener("click", (event) => copy(location.href, event.currentTarget));
    found("copy").addEventListener("click", (event) => copy(FORMATS[found("format").value].make(), event.currentTarget));
    found("download").addEventListener("click", download);

    function follow() {
      if (!read()) return false;
      choose();
      show();
      showControls();
      return true;
    }

    window.addEventListener("hashchange", follow);
    found("controls").hidden = false;
    if (follow()) found("ranking").scrollIntoView();
    else frame(0, table.querySelectorAll("tbody tr[data-series]").length, rowsInAll);
  }

  document.addEventListener("DOMContentLoaded", () => {
    startTheme(document.getElementById("theme"));
    startTracing(document.querySelector("main"));
    const data = document.getElementById("data");
    if (data) startRanking(data);
  });
})();
