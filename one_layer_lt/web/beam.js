// Beam search, as fairseq's SequenceGenerator makes it for one sentence.

import { END, PAD } from "./text.js";

/**
 * The best translation of a sentence of numbers: {numbers, attention, score}. attention: of each subword of it the row
 * (Float32Array) of what it looks at in the source. `pause` is awaited before each step, and may throw to end it.
 */
export async function search(model, sentence, { beam, penalty, longest }, pause) {
  const decoder = model.start(model.encode(sentence));
  const size = Math.min(beam, model.vocabulary - 1);
  let live = [{ number: END, score: 0, path: [], before: null, seen: null }];
  const finished = [];
  for (let step = 0; step <= longest && finished.length < size; step++) {
    await pause();
    const { logits, seen, first } = decoder.step(live.map((one) => one.number), live.map((one) => one.path));
    const allowed = (number) => number !== PAD && (step < longest ? number !== END || step > 0 : number === END);
    const found = best(logits, model.vocabulary, live.map((one) => one.score), 2 * size, allowed);
    const next = [];
    for (const [rank, { row, number, score }] of found.entries()) {
      const before = live[row], at = row * sentence.length;
      const one = { number, score, before, path: [...before.path, first + row], seen: seen.subarray(at, at + sentence.length) };
      if (number !== END) {
        if (next.length < size) next.push(one);
      } else if (rank < size && finished.length < size) {
        finished.push({ one, score: Math.fround(score / Math.fround((step + 1) ** penalty)) });
      }
    }
    live = next;
  }
  const { one, score } = finished.reduce((top, other) => (other.score > top.score ? other : top));
  const chain = [];
  for (let at = one; at.before; at = at.before) chain.unshift(at);
  return { numbers: chain.map((at) => at.number), attention: chain.map((at) => at.seen.slice()), score };
}

/** The `count` continuations of the best scores, best first: {row, number, score}. */
function best(logits, vocabulary, scores, count, allowed) {
  const top = [];
  for (const [row, score] of scores.entries()) {
    const own = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
    let most = -Infinity, sum = 0;
    for (let i = 0; i < own.length; i++) if (own[i] > most) most = own[i];
    for (let i = 0; i < own.length; i++) sum += Math.exp(own[i] - most);
    const log = Math.fround(Math.log(sum));
    let least = top.length < count ? -Infinity : top[count - 1].score;
    for (let number = 0; number < own.length; number++) {
      const total = Math.fround(Math.fround(Math.fround(own[number] - most) - log) + score);
      if (!(total > least) || !allowed(number)) continue;
      let at = top.length < count ? top.length : count - 1;
      for (; at > 0 && top[at - 1].score < total; at--) top[at] = top[at - 1];
      top[at] = { row, number, score: total };
      if (top.length === count) least = top[count - 1].score;
    }
  }
  return top;
}
