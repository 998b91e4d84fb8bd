// A ticket as a translator of lines of text.

import { search } from "./beam.js";
import { expanded, openTicket } from "./container.js";
import { weightsOf } from "./masks.js";
import { transformer } from "./model.js";
import { inParts, joined, textSide } from "./text.js";

/** {about, size, kept, words, translate(line, settings, pause)} of a ticket's bytes; `report` hears what fraction is done. */
export async function translator(bytes, pool, report) {
  const file = openTicket(bytes);
  const { architecture, assets } = file.about;
  if (architecture.kind !== "fairseq_transformer") throw new Error("it is no translator");
  const asset = async (name) => (assets[name] ? expanded(file, `asset.${name}`, assets[name]) : undefined);
  const words = textSide(architecture.text, {
    subwords: await asset("subwords"), source: await asset("dict.source"), target: await asset("dict.target"),
  });
  const weights = await weightsOf(file, pool, report);
  const kept = file.about.masks.reduce((all, mask) => all + weights.get(mask.name).kept, 0);
  const model = transformer(architecture, weights);
  const most = architecture.max_target_positions - 1;

  /** [{source, target, attention}], one of each part: subwords, and rows of what each looks at. */
  async function translate(line, { beam, penalty, longest }, pause) {
    const found = [];
    for (const source of inParts(words.split(line), architecture.max_source_positions - 1)) {
      const sentence = words.numbers(source);
      const { numbers, attention } = await search(model, sentence, { beam, penalty, longest: Math.min(longest, most) }, pause);
      found.push({ source, target: words.pieces(numbers), attention });
    }
    return found;
  }

  return { about: file.about, size: file.size, kept, words, translate };
}

export const textOf = (parts) => parts.map(({ target }) => joined(target)).join(" ");
