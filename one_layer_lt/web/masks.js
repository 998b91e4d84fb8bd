// From the bits of a ticket to the weights of its model: planes, layouts, rules.

import { expanded, floats } from "./container.js";
import { digestOf, draw, drawAgain, hashes, product } from "./random.js";

// A plane has a bit for each 1 of the plane before: a weight's level is how many of its bits are 1. Of each rule: the
// mask's value at each level, where that is not the level itself; how many planes there are, where it is not one; and how
// mask and random weight combine, where they are not multiplied.
const RULES = {
  edge_popup: {}, topk: {}, bernoulli: {}, threshold: {}, sigmoid_threshold: {}, annealed: {}, continuous: {},
  gem_miner: {},
  sign: { values: [-1, 1] },
  signed: { values: [0, 1, -1], planes: () => 2 },
  multicoat: { planes: ({ coats = [0.3, 0.0788, 0.0315] }) => coats.length },
  biprop: { combine: (mask, weight, scale) => (1 / weight < 0 ? -mask : mask) * scale },
  iterand: { combine: (mask, weight) => mask * weight + 0 }, // no -0: nothing is left of a dropped weight's draw
};

/** Random weights, each drawn and checked once, however many tickets name it. */
export class WeightPool {
  #drawn = new Map();

  get size() {
    return this.#drawn.size;
  }

  async get(spec, redraws) {
    const { digest, ...drawnBy } = spec;
    const key = JSON.stringify([drawnBy, redraws ? digest : ""]);
    if (!this.#drawn.has(key)) {
      const weight = redraws ? drawAgain(spec, redraws) : draw(spec);
      this.#drawn.set(key, { weight, digest: await digestOf(weight, spec.shape) });
    }
    return checked(spec, this.#drawn.get(key));
  }
}

/**
 * A Map from the name of each tensor of a ticket's model, but for vectors that it implies, to {shape, values: Float32Array,
 * kept: how many weights its mask keeps}. `report` is told the fraction that is done.
 */
export async function weightsOf(file, pool, report = () => {}) {
  const { about } = file;
  const random = [];
  for (const [index, spec] of about.weights.entries()) {
    random.push(await randomWeight(file, spec, index, pool));
    report((index + 1) / (about.weights.length + about.masks.length));
  }
  const found = new Map();
  let done = 0;
  for await (const [mask, bits, layout] of masks(file)) {
    const spec = about.weights[mask.weight];
    const tensor = { shape: spec.shape, ...effective(mask, layout, bits, random[mask.weight]) };
    for (const name of [mask.name, ...(mask.also ?? [])]) found.set(name, tensor);
    report((about.weights.length + ++done) / (about.weights.length + about.masks.length));
  }
  for (const name of file.names.filter((name) => name.startsWith("dense."))) {
    const tensor = file.tensor(name);
    found.set(name.slice("dense.".length), { shape: tensor.shape, values: floats(tensor) });
  }
  return found;
}

async function randomWeight(file, spec, index, pool) {
  const size = product(spec.shape);
  if (spec.init === "existing") {
    const weight = floats(file.tensor(`weight.${index}`));
    return checked(spec, { weight, digest: await digestOf(weight, spec.shape) });
  }
  const coding = file.about.redraws?.[index];
  if (!coding) return pool.get(spec);
  const bytes = await expanded(file, `redraws.${index}`, coding); // all low bytes, then all high ones unless they are 0
  return pool.get(spec, Uint16Array.from({ length: size }, (_, i) => bytes[i] | ((bytes[size + i] ?? 0) << 8)));
}

function checked(spec, { weight, digest }) {
  if (digest !== spec.digest) throw new Error(`the random weight ${spec.name} does not come out as it was`);
  return weight;
}

/** [mask, levels of its searched weights (Uint8Array), layout] of each mask. Masks of one group are stored together. */
async function* masks(file) {
  const { about } = file;
  const groups = new Map();
  for (const mask of about.masks) {
    const config = about.configs[mask.config];
    const key = JSON.stringify([config.rule, config.keep ?? null, config.options ?? []]);
    groups.set(key, [...(groups.get(key) ?? []), mask]);
  }
  let number = 0;
  for (const group of groups.values()) {
    const config = about.configs[group[0].config];
    if (!Object.hasOwn(RULES, config.rule)) throw new Error(`the rule ${config.rule} is unknown to this page`);
    const planes = RULES[config.rule].planes?.(Object.fromEntries(config.options ?? [])) ?? 1;
    const layouts = group.map((mask) => layoutOf(about.configs[mask.config], about.weights[mask.weight].shape, mask.name));
    const levels = layouts.map((layout) => new Uint8Array(layout.searched));
    for (let plane = 0; plane < planes; plane++, number++) {
      const bytes = await expanded(file, `planes.${number}`, about.planes[number]);
      let at = 0;
      for (const level of levels) {
        let bit = 0;
        for (let i = 0; i < level.length; i++) {
          if (level[i] !== plane) continue;
          level[i] += (bytes[at + (bit >> 3)] >> (bit & 7)) & 1;
          bit++;
        }
        at += (bit + 7) >> 3;
      }
      if (at !== bytes.length) throw new Error(`planes.${number} has ${bytes.length} bytes, and its masks take ${at}`);
    }
    for (const [i, mask] of group.entries()) yield [mask, levels[i], layouts[i]];
  }
}

/** Which weights are searched and locked: one tile's `shape`, and of each of its weights 0 (dropped), 1 or 2 (locked). */
function layoutOf(config, shape, name) {
  const [down, across] = config.tiles ?? [1, 1];
  const tile = [shape[0] / down, shape[1] / across, ...shape.slice(2)];
  const size = product(tile);
  if (!config.drop && !config.lock) return { config, shape, tile, searched: size, pattern: null };
  const dropped = Math.round((config.drop ?? 0) * 2 ** 32), locked = dropped + Math.round((config.lock ?? 0) * 2 ** 32);
  const pattern = Uint8Array.from(hashes(size, config.seed, `frozen:${name}`), (hash) => {
    const word = hash >>> 0;
    return word < dropped ? 0 : word < locked ? 2 : 1;
  });
  return { config, shape, tile, searched: pattern.reduce((all, what) => all + (what === 1), 0), pattern };
}

/** The whole mask (Float32Array of the weight's size) from the levels of the searched weights. */
function cover({ config, shape, tile, pattern }, levels) {
  const values = RULES[config.rule].values ?? Array.from({ length: 256 }, (_, level) => level);
  const once = new Float32Array(product(tile));
  for (let i = 0, at = 0; i < once.length; i++) {
    once[i] = pattern && pattern[i] !== 1 ? pattern[i] / 2 : values[levels[at++]];
  }
  if (once.length === product(shape)) return once;
  const kernel = product(tile.slice(2)), row = shape[1] * kernel, part = tile[1] * kernel;
  const whole = new Float32Array(product(shape));
  for (let i = 0, to = 0; i < shape[0]; i++) {
    const from = (i % tile[0]) * part;
    for (let j = 0; j < row; j += part, to += part) whole.set(once.subarray(from, from + part), to);
  }
  return whole;
}

function effective({ scale = 1 }, layout, levels, weight) {
  const { combine } = RULES[layout.config.rule];
  const out = cover(layout, levels);
  const factor = factors(layout, out);
  let kept = 0;
  for (let i = 0; i < out.length; i++) {
    const mask = out[i];
    if (mask !== 0) kept++;
    out[i] = combine ? combine(mask, weight[i], Math.fround(scale)) : mask * weight[i];
  }
  if (factor) for (let i = 0; i < out.length; i++) out[i] *= factor(i);
  return { values: out, kept };
}

/** What a weight is multiplied by, from its index: all weights over kept ones, of all, its row or its column. */
function factors({ config, shape }, mask) {
  const how = config.rescale ?? "none";
  if (how === "none") return null;
  const kernel = product(shape.slice(2));
  const group = {
    tensor: () => 0,
    row: (i) => Math.floor(i / (shape[1] * kernel)),
    column: (i) => Math.floor(i / kernel) % shape[1],
  }[how];
  const count = { tensor: 1, row: shape[0], column: shape[1] }[how];
  const kept = new Float64Array(count);
  mask.forEach((value, i) => { if (value !== 0) kept[group(i)]++; });
  const size = mask.length / count;
  const factor = kept.map((k) => Math.fround(Math.fround(1 / Math.max(k, 1)) * size)); // as torch divides: by a reciprocal
  return (i) => factor[group(i)];
}
