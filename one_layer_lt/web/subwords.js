// What sentencepiece does with a line: normalise it and cut it into pieces, by a model of kind unigram or BPE.

import { text } from "./container.js";

const NORMAL = 1, USER_DEFINED = 4, UNUSED = 5; // types of pieces
const SPACE = "\u2581";
const UNKNOWN_PENALTY = 10;

/** A function from a line to its pieces (strings), by the model file `bytes`. */
export function splitter(bytes) {
  const model = read(bytes);
  const cut = { 1: unigram, 2: bpe }[model.kind]?.(model);
  if (!cut) throw new Error("its subword model is neither unigram nor BPE");
  const utf8 = new TextEncoder();
  return (line) => {
    const found = [];
    let wasUnknown = false;
    for (const piece of cut(normalise(model, line))) {
      const isUnknown = !model.ids.has(piece);
      if (isUnknown && model.bytes) {
        for (const byte of utf8.encode(piece)) found.push(`<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
      } else if (isUnknown && wasUnknown) found[found.length - 1] += piece;
      else found.push(piece);
      wasUnknown = isUnknown;
    }
    return found;
  };
}

function read(content) {
  const pieces = [], specs = { 2: {}, 3: {} }; // of the trainer, and of the normaliser
  for (const [field, value] of fields(content)) {
    const parts = field <= 3 ? Object.fromEntries(fields(value)) : {};
    if (field === 1) pieces.push({ text: text(parts[1]), score: parts[2] ?? 0, type: parts[3] ?? NORMAL });
    else specs[field] = parts;
  }
  const { 3: kind = 1, 24: suffix = 0, 35: bytes = 0 } = specs[2];
  const { 2: map = [], 3: prefix = 1, 4: squeeze = 1, 5: escape = 1 } = specs[3];
  const types = kind === 1 ? [NORMAL, USER_DEFINED] : [NORMAL, USER_DEFINED, UNUSED]; // BPE merges through unused ones
  const cutInto = pieces.filter((piece) => types.includes(piece.type));
  return {
    kind, suffix, bytes, prefix, squeeze, escape,
    map: map.length ? charactersMap(map) : null,
    scores: pieces.filter((piece) => piece.type === NORMAL).map((piece) => piece.score),
    ids: new Map(cutInto.map((piece) => [piece.text, piece])),
    longest: Math.max(...cutInto.map((piece) => piece.text.length)),
    own: cutInto.filter((piece) => piece.type === USER_DEFINED).map((piece) => piece.text).sort((a, b) => b.length - a.length),
  };
}

/** [field, value] of a protocol buffer: integers, floats, and the bytes of all else. */
function* fields(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = view.getUint8(at++);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint(), kind = key & 7, field = Math.floor(key / 8);
    if (kind === 0) yield [field, varint()];
    else if (kind === 5) yield [field, view.getFloat32((at += 4) - 4, true)];
    else if (kind === 1) at += 8;
    else {
      const size = varint();
      yield [field, bytes.subarray(at, (at += size))];
    }
  }
}

function normalise(model, line) {
  const escape = (part) => (model.escape ? part.replaceAll(" ", SPACE) : part);
  const space = escape(" ");
  let out = "", wasSpace = model.squeeze;
  for (let part of mapped(model, line)) {
    if (wasSpace) part = part.replace(/^ +/, "");
    if (part) {
      out += escape(part);
      wasSpace = model.squeeze && part.endsWith(" ");
    }
  }
  if (!out) return "";
  if (model.prefix && !model.suffix) out = space + out;
  if (model.squeeze) while (out.endsWith(space)) out = out.slice(0, -space.length);
  return model.prefix && model.suffix ? out + space : out;
}

/** The parts of a line as the characters' map has them, the longest rule first; user-defined pieces stay. */
function* mapped({ map, own }, line) {
  if (!map) return yield* line;
  const utf8 = new TextEncoder().encode(line);
  for (let at = 0, left = line; left; ) {
    const piece = own.find((one) => left.startsWith(one));
    const rule = piece ? null : map(utf8, at);
    const part = piece ?? (rule ? text(utf8.subarray(at, at + rule.length)) : String.fromCodePoint(left.codePointAt(0)));
    yield rule ? rule.text : part;
    left = left.slice(part.length);
    at += rule ? rule.length : new TextEncoder().encode(part).length;
  }
}

/** The longest rule that fits bytes from a place on: a walk through a double array (Yata's darts-clone). */
function charactersMap(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(0, true), strings = bytes.subarray(4 + size);
  const unit = (i) => view.getUint32(4 + 4 * i, true);
  const offset = (word) => (word >>> 10) << ((word & 512) >>> 6);
  return (line, start) => {
    let node = offset(unit(0)), found = null;
    for (let at = start; at < line.length; at++) {
      node ^= line[at];
      const word = unit(node);
      if ((word & 0x800000ff) >>> 0 !== line[at]) break;
      node ^= offset(word);
      if (word & 256) found = { length: at + 1 - start, from: unit(node) & 0x7fffffff };
    }
    return found && { length: found.length, text: text(strings.subarray(found.from, strings.indexOf(0, found.from))) };
  };
}

// The best path through all pieces that fit, in sentencepiece's order and its float32 sums.
function unigram({ ids, scores, longest }) {
  const unknown = Math.fround(Math.min(...scores) - UNKNOWN_PENALTY);
  const most = Math.max(1.1754943508222875e-38, ...scores); // as there: it begins with the least positive float
  const own = new Map([...ids].map(([piece, { score, type }]) => {
    return [piece, type === USER_DEFINED ? new TextEncoder().encode(piece).length * most - 0.1 : score];
  }));
  return (line) => {
    const best = new Float32Array(line.length + 1), from = new Int32Array(line.length + 1).fill(-1);
    const offer = (start, end, score) => {
      const total = best[start] + score;
      if (from[end] >= 0 && total <= best[end]) return;
      best[end] = total;
      from[end] = start;
    };
    for (let start = 0; start < line.length; ) {
      const character = width(line, start);
      let alone = false;
      for (let end = start + character; end <= line.length && end - start <= longest; end += width(line, end)) {
        const score = own.get(line.slice(start, end));
        if (score === undefined) continue;
        offer(start, end, score);
        alone ||= end - start === character;
      }
      if (!alone) offer(start, start + character, unknown);
      start += character;
    }
    const pieces = [];
    for (let end = line.length; end > 0; end = from[end]) pieces.push(line.slice(from[end], end));
    return pieces.reverse();
  };
}

const width = (line, at) => (line.codePointAt(at) > 0xffff ? 2 : 1);

// Neighbours are merged, those first whose whole has the best score, and of these the leftmost.
function bpe({ ids, own }) {
  return (line) => {
    const symbols = [];
    for (let at = 0; at < line.length; at += symbols.at(-1).text.length) {
      const fixed = own.find((piece) => line.startsWith(piece, at));
      const part = fixed ?? line.slice(at, at + width(line, at));
      symbols.push({ text: part, fixed: fixed !== undefined, before: symbols.length - 1, after: symbols.length + 1 });
    }
    const agenda = heap((a, b) => a.score > b.score || (a.score === b.score && a.left < b.left));
    const merged = new Map(); // unused pieces, and what they are made of
    const consider = (left, right) => {
      if (left < 0 || right >= symbols.length || symbols[left].fixed || symbols[right].fixed) return;
      const whole = symbols[left].text + symbols[right].text, piece = ids.get(whole);
      if (!piece) return;
      agenda.push({ left, right, score: piece.score, length: whole.length });
      if (piece.type === UNUSED) merged.set(whole, [symbols[left].text, symbols[right].text]);
    };
    for (let i = 1; i < symbols.length; i++) consider(i - 1, i);
    for (let top; (top = agenda.pop()); ) {
      const left = symbols[top.left], right = symbols[top.right];
      if (!left.text || !right.text || left.text.length + right.text.length !== top.length) continue;
      left.text += right.text;
      right.text = "";
      left.after = right.after;
      if (left.after < symbols.length) symbols[left.after].before = top.left;
      consider(left.before, top.left);
      consider(top.left, left.after);
    }
    const parts = (piece) => (merged.has(piece) ? merged.get(piece).flatMap(parts) : [piece]);
    return symbols.flatMap((symbol) => (symbol.text ? parts(symbol.text) : []));
  };
}

/** A binary heap: `pop` gives the first of its items by `before`, or undefined. */
function heap(before) {
  const items = [];
  const swap = (i, j) => ([items[i], items[j]] = [items[j], items[i]]);
  return {
    push(item) {
      let at = items.push(item) - 1;
      for (let up; at > 0 && before(items[at], items[(up = (at - 1) >> 1)]); at = up) swap(at, up);
    },
    pop() {
      const last = items.length - 1;
      if (last < 0) return undefined;
      swap(0, last);
      const first = items.pop();
      for (let at = 0; ; ) {
        let least = at;
        for (const child of [2 * at + 1, 2 * at + 2]) if (child < last && before(items[child], items[least])) least = child;
        if (least === at) return first;
        swap(at, least);
        at = least;
      }
    },
  };
}
