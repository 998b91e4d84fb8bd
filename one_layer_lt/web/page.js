// The page: what is typed goes to the worker, and what it answers is shown, as text and never as markup.

const at = (id) => document.getElementById(id);
const blocks = [...document.querySelectorAll("script[data-name]")];
const tickets = blocks.map((block) => ({ ...block.dataset, pair: pairOf(block.dataset) }));
const worker = new Worker(URL.createObjectURL(new Blob([`"use strict";(${runtime})()`], { type: "text/javascript" })));
const WAIT = 80; // milliseconds without a key, before a translation begins

let asking = { id: 0, lines: [] }; // what the next answers are to
let shown = []; // of each line its {line, parts, text}
let timer = 0;
let current = 0; // the ticket in use
let pointed = null; // the word of the translation that is looked at

at("stuck").remove();
worker.onmessage = ({ data }) => heard(data);
worker.onerror = (event) => fail(event.message);
worker.postMessage({ open: blocks.map((block) => block.textContent.trim()) });
blocks.forEach((block) => block.remove()); // the worker has them now
for (const [number, ticket] of tickets.entries()) {
  const alone = tickets.filter((other) => other.pair === ticket.pair).length === 1;
  at("which").add(new Option(alone ? ticket.pair : `${ticket.pair} (${ticket.name})`, number));
}
at("menu").hidden = tickets.length < 2;
choose(0);

at("which").onchange = () => choose(Number(at("which").value));
at("source").oninput = () => ask(WAIT);
at("clear").onclick = () => {
  at("source").value = "";
  at("source").focus();
  at("source").oninput();
};
at("copy").onclick = () => navigator.clipboard.writeText(shown.map((one) => one?.text ?? "").join("\n"));
at("settings").oninput = () => {
  for (const name of ["beam", "penalty"]) at(`${name}-value`).value = at(name).value;
  ask(WAIT);
};
at("target").onpointerover = (event) => point(event.target.closest("span"));
at("target").onpointerleave = () => point(null);
at("target").onblur = () => point(null);
at("target").onclick = (event) => point(event.target.closest("span")); // a finger does not hover
at("target").onkeydown = (event) => {
  const words = [...at("target").querySelectorAll("span")];
  const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity };
  if (!(event.key in steps) || words.length === 0) return;
  event.preventDefault();
  const step = steps[event.key], from = words.indexOf(pointed);
  point(words[Math.max(0, Math.min(words.length - 1, from < 0 && step > 0 ? step - 1 : from + step))]);
};

/** Use another ticket. */
function choose(number) {
  current = number;
  const { pair, source, target, ready } = tickets[number];
  document.title = at("title").textContent = pair;
  at("source-name").textContent = language(source);
  at("target-name").textContent = language(target);
  at("source").lang = source;
  at("target").lang = target;
  at("failed").hidden = true;
  describe(ready);
  opening(!ready);
  ask(0);
}

/** Have the text translated, once nothing has been typed for a while. */
function ask(wait) {
  const lines = at("source").value.split(/\r?\n/);
  shade([]);
  const count = [...at("source").value].length;
  at("counted").textContent = count ? `${count.toLocaleString("en")} ${count === 1 ? "character" : "characters"}` : "";
  at("clear").hidden = count === 0;
  at("target").setAttribute("aria-busy", "true");
  at("took").textContent = "";
  [...at("target").children].forEach((line, number) => line.classList.toggle("old", shown[number]?.line !== lines[number]));
  clearTimeout(timer);
  const settings = { beam: Number(at("beam").value), penalty: Number(at("penalty").value), longest: 200 };
  asking = { id: asking.id + 1, lines };
  timer = setTimeout(() => worker.postMessage({ ask: asking.id, ticket: current, lines, settings }), wait);
}

/** Show what the worker says; what answers an older question is of no interest any more. */
function heard({ ticket, progress, ready, failed, ask, number, parts, text, done }) {
  if (ready) tickets[ticket].ready = ready;
  if (ticket !== undefined && ticket !== current) return;
  if (failed !== undefined) return fail(`${tickets[ticket].name}.ticket cannot be used: ${failed}`);
  if (progress !== undefined) at("progress").value = progress;
  if (ready) {
    opening(false);
    describe(ready);
  }
  if (ask !== asking.id) return;
  opening(false);
  if (number !== undefined) show(number, { line: asking.lines[number], parts, text });
  if (done !== undefined) finish(done);
}

function opening(is) {
  at("opening").hidden = !is;
  at("target").hidden = is;
  at("progress").value = 0;
}

function fail(message) {
  at("failed").textContent = message;
  at("failed").hidden = false;
  at("opening").hidden = true;
  at("target").setAttribute("aria-busy", "false");
}

/** Show the translation of a line, each word of it in an element of its own. */
function show(number, found) {
  const target = at("target");
  while (target.children.length <= number) target.append(paragraph());
  shown[number] = found;
  const line = paragraph();
  found.parts.forEach(({ source, target: pieces, attention }, part) => {
    for (const [index, word] of wordsOf(pieces).entries()) {
      const text = word.pieces.join("").replaceAll("\u2581", " ");
      const start = text.length - text.trimStart().length;
      if (line.textContent) line.append(text.slice(0, start) || (index === 0 && part ? " " : ""));
      if (!text.slice(start)) continue;
      const span = document.createElement("span");
      span.textContent = text.slice(start);
      span.looks = () => ({ number, part, ...lookedAt(word, attention, source) });
      line.append(span);
    }
  });
  target.children[number].replaceWith(line);
  if (pointed && !pointed.isConnected) point(null);
}

function paragraph() {
  const line = document.createElement("p");
  line.dir = "auto";
  return line;
}

function finish(seconds) {
  shown.length = asking.lines.length;
  const target = at("target");
  while (target.children.length > shown.length) target.lastChild.remove();
  target.setAttribute("aria-busy", "false");
  const some = shown.some((one) => one?.text);
  at("took").textContent = some ? `${seconds.toFixed(2)} s` : "";
  at("copy").hidden = !some || !navigator.clipboard;
}

/** Words of subwords: {pieces, from}, from being the place of the first. */
function wordsOf(pieces) {
  const words = [];
  pieces.forEach((piece, from) => {
    if (words.length === 0 || piece.startsWith("\u2581")) words.push({ pieces: [], from });
    words.at(-1).pieces.push(piece);
  });
  return words;
}

/** What a word of the translation looks at: the source's words, and the weight of each. */
function lookedAt({ pieces, from }, attention, source) {
  const words = wordsOf(source);
  const rows = attention.slice(from, from + pieces.length);
  const weight = (start, end) => sum(rows.map((row) => sum(row.slice(start, end)))) / rows.length;
  return {
    words: words.map((word) => word.pieces.join("").replaceAll("\u2581", "")),
    weights: words.map((word) => weight(word.from, word.from + word.pieces.length)),
  };
}

/** Show what a word of the translation, or none, looks at. */
function point(span) {
  if (span === pointed) return;
  pointed?.classList.remove("at");
  pointed = span;
  const looks = at("looks");
  if (!span) {
    shade([]);
    return;
  }
  span.classList.add("at");
  span.scrollIntoView({ block: "nearest" });
  const { number, part, words, weights } = span.looks();
  const order = weights.map((_, i) => i).sort((a, b) => weights[b] - weights[a]).slice(0, 4);
  const word = document.createElement("b");
  word.textContent = span.textContent;
  const said = order.filter((i) => weights[i] >= 0.05).map((i) => `${words[i]} ${Math.round(100 * weights[i])}%`);
  looks.replaceChildren(word, said.length ? ` looks at ${said.join(", ")}` : " looks at the end of the sentence");
  shade(weights, number, part);
}

/** Mark words of a line of the source by their weights. Longer lines go in parts: those before have their own words. */
function shade(weights, number = 0, part = 0) {
  const lines = at("source").value.split("\n");
  at("shade").textContent = `${lines.join("\n")}\n`; // of one height with the text over it
  if (weights.length === 0 || shown[number].line !== lines[number]) return;
  const counts = shown[number].parts.map(({ source }) => wordsOf(source).length);
  const pieces = lines[number].split(/(\s+)/);
  if (pieces.filter((piece) => piece.trim()).length !== sum(counts)) return; // it was cut into other words
  let word = -sum(counts.slice(0, part));
  const marked = pieces.map((piece) => {
    if (!piece.trim()) return piece;
    const mark = document.createElement("mark");
    mark.textContent = piece;
    mark.style.setProperty("--weight", weights[word++] ?? 0);
    return mark;
  });
  const rest = (some) => some.map((line) => `${line}\n`).join("");
  at("shade").replaceChildren(rest(lines.slice(0, number)), ...marked, "\n", rest(lines.slice(number + 1)));
}

/** Say what a ticket is, or nothing before it is open. */
function describe(ready) {
  at("about").replaceChildren();
  at("opened").textContent = "";
  if (!ready) return;
  const { about, size, kept, pieces, seconds } = ready;
  const { architecture: a, configs, weights, masks } = about;
  const every = (values) => [...new Set(values)].join(", "), grouped = (number) => number.toLocaleString("en");
  const drawn = weights.map((spec) => spec.shape.reduce((all, side) => all * side, 1));
  const masked = sum(masks.map((mask) => drawn[mask.weight]));
  const { name, data = [], licence, scores = [] } = about.card ?? {};
  const joined = (part) => Object.values(part).join(", ");
  const card = [["Name", name], ...data.map((part) => ["Data", joined(part)]), ["Licence", licence]];
  const scored = scores.map(({ metric, ...measured }) => [metric, joined(measured)]);
  const facts = {
    Rule: every(configs.map((config) => config.rule)),
    "Random weights": `${every(weights.map((spec) => spec.init))}, of seed ${every(weights.map((spec) => spec.seed))}`,
    Weights: `${grouped(masked)} under masks, of which ${((100 * kept) / masked).toFixed(1)}% are kept; ${grouped(sum(drawn))} are drawn`,
    Model: `${a.encoder_layers} + ${a.decoder_layers} layers of width ${a.encoder_embed_dim}, ${a.encoder_attention_heads} heads`,
    Subwords: `${grouped(pieces)} sentencepieces`,
    File: `${grouped(size)} bytes, against ${grouped(4 * masked)} in float32`,
  };
  at("opened").textContent = `${(size / 1e6).toFixed(2)} MB, unpacked in ${seconds.toFixed(2)} s`;
  const said = [...card, ...scored, ...Object.entries(facts)].filter(([, fact]) => fact);
  at("about").replaceChildren(...said.flatMap(([name, fact]) => {
    const term = document.createElement("dt"), said = document.createElement("dd");
    term.textContent = name;
    said.textContent = fact;
    return [term, said];
  }));
}

function sum(numbers) {
  return numbers.reduce((all, number) => all + number, 0);
}

function language(code) {
  try {
    return new Intl.DisplayNames(["en"], { type: "language" }).of(code.replaceAll("_", "-"));
  } catch {
    return code;
  }
}

function pairOf({ source, target }) {
  return `${language(source)} → ${language(target)}`;
}
