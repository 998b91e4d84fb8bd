// Raw text to the numbers that a model reads, and back.

import { text } from "./container.js";
import { splitter } from "./subwords.js";

export const PAD = 1, END = 2;
const UNK = 3, SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"];
const WHITE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/g; // Python's
const HIDDEN = /[\0-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u200b\ufeff]/g; // control characters and invisible marks

/** White space as one space, without control characters; half a surrogate pair is no character. */
export function tidy(line) {
  return line.replace(/\p{Surrogate}/gu, "\ufffd").replace(HIDDEN, "").replace(WHITE, " ").replace(/^ | $/g, "");
}

/** {split, numbers, string} by what a ticket says of its text, its subword model and its dictionaries (Uint8Arrays). */
export function textSide(settings, { subwords, source, target = source }) {
  if (settings?.tokenizer !== "sentencepiece" || !subwords) {
    throw new Error("its text is split by Moses' tokenizer or not at all: `one-layer-lt translate` runs it, a page cannot");
  }
  const cut = splitter(subwords);
  const sourceIds = new Map(words(source).map((word, id) => [word, id]));
  const targetWords = words(target);
  return {
    /** The subwords of a line. */
    split(line) {
      const clean = tidy(line);
      const pieces = cut(settings.lowercase ? clean.toLowerCase() : clean);
      return pieces.flatMap((piece) => piece.split(WHITE).filter(Boolean));
    },
    numbers: (pieces) => [...pieces.map((piece) => sourceIds.get(piece) ?? UNK), END],
    pieces: (ids) => ids.filter((id) => id !== END && id !== 0).map((id) => targetWords[id] ?? "<unk>"),
    size: targetWords.length,
  };
}

/** The text that was cut into `pieces`. */
export const joined = (pieces) => pieces.join("").replaceAll("\u2581", " ").trim();

/** Pieces in parts of at most `longest`, cut between words where one starts in the second half of a part. */
export function inParts(pieces, longest) {
  const parts = [];
  while (pieces.length > longest) {
    let cut = longest;
    while (cut > longest >> 1 && !pieces[cut].startsWith("\u2581")) cut--;
    if (cut === longest >> 1) cut = longest;
    parts.push(pieces.slice(0, cut));
    pieces = pieces.slice(cut);
  }
  return pieces.length ? [...parts, pieces] : parts;
}

/** The words of a dictionary of fairseq's, by their numbers. */
function words(bytes) {
  const listed = text(bytes).split("\n").filter(Boolean);
  return [...SPECIAL, ...listed.map((line) => line.trimEnd().replace(/ #fairseq:overwrite$/, "").replace(/ -?\d+$/, ""))];
}
