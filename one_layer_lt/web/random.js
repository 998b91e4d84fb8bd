// Random weights from a seed, the same bits as one_layer_lt/weights.py draws. What they are: docs/ticket-format.md.

import { hex, quickSha256, sha256 } from "./sha256.js";

const encode = (text) => new TextEncoder().encode(text);

// How an element is made of a hash, and whether the fan is that of both sides.
const INITS = {
  kaiming_uniform: [uniform, false],
  kaiming_normal: [normal, false],
  xavier_uniform: [uniform, true],
  xavier_normal: [normal, true],
  signed_constant: [sign, false],
  unsigned_constant: [one, false],
  xavier_constant: [sign, true],
};

/** The random weight (Float32Array) that a ticket's entry `spec` names; `name`: of another draw. */
export function draw(spec, name = spec.name) {
  if (!Object.hasOwn(INITS, spec.init)) throw new Error(`unknown init ${spec.init}`);
  const [fill, averageFan] = INITS[spec.init];
  const [rows, columns, ...kernel] = spec.shape;
  const window = product(kernel);
  const fan = averageFan ? columns * window + rows * window : columns * window;
  const out = new Float32Array(product(spec.shape));
  const once = out.subarray(0, Math.min(out.length, spec.period || out.length));
  fill(once, Math.sqrt(2 / fan) * spec.scale, () => hashes(once.length, spec.seed, name));
  for (let at = once.length; at < out.length; at += once.length) {
    out.set(once.subarray(0, out.length - at), at);
  }
  return out;
}

/** A random weight each element of which is of the draw that `redraws` (Uint16Array) says. */
export function drawAgain(spec, redraws) {
  const out = draw(spec);
  for (const number of new Set(redraws)) {
    if (number === 0) continue;
    const drawn = draw(spec, `${spec.name}@${number}`);
    redraws.forEach((of, i) => { if (of === number) out[i] = drawn[i]; });
  }
  return out;
}

/** The digest (hex) that a ticket names a random weight by. */
export async function digestOf(weight, shape) {
  const bytes = new Uint8Array(weight.buffer, weight.byteOffset, weight.byteLength);
  return hex(await quickSha256(encode(`torch.float32(${shape.join(", ")})`), bytes));
}

/** 32 bits (integers with signs) of each index up to `count`: lowbias32 twice, keyed before each. */
export function hashes(count, seed, name) {
  const key = new DataView(sha256(encode(`${seed}\0${name}`)).buffer);
  const first = key.getInt32(0, true), second = key.getInt32(4, true);
  const found = new Int32Array(count);
  for (let i = 0; i < count; i++) found[i] = mix(mix(i ^ first) ^ second);
  return found;
}

export const product = (sizes) => sizes.reduce((all, size) => all * size, 1);

function mix(x) {
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return x ^ (x >>> 16);
}

function uniform(out, std, hash) {
  const step = Math.fround((std * Math.sqrt(3)) / 2 ** 23), words = hash();
  for (let i = 0; i < out.length; i++) out[i] = ((words[i] >>> 8) - (2 ** 23 - 0.5)) * step;
}

function normal(out, std, hash) {
  const table = normalTable(), factor = Math.fround(std), words = hash();
  for (let i = 0; i < out.length; i++) out[i] = table[words[i] >>> 16] * factor;
}

function sign(out, std, hash) {
  const words = hash();
  for (let i = 0; i < out.length; i++) out[i] = std * (1 + 2 * (words[i] >> 31)); // no branch: it would be guessed wrong half the time
}

function one(out, std) {
  out.fill(std);
}

let quantiles = null;

/** Standard normal quantiles at the midpoints of 2^16 equal steps of probability, scaled to unit variance. */
function normalTable() {
  if (quantiles) return quantiles;
  const half = Array.from({ length: 1 << 15 }, (_, i) => quantile(0.5 + (i + 0.5) / 2 ** 16));
  let squares = 0, lost = 0; // summed with what each step rounds off
  for (const z of half) {
    const term = z * z - lost, sum = squares + term;
    lost = sum - squares - term;
    squares = sum;
  }
  const deviation = Math.sqrt(squares / half.length);
  const upper = Float32Array.from(half, (z) => z / deviation);
  quantiles = Float32Array.from([...upper.map((z) => -z).reverse(), ...upper]);
  return quantiles;
}

// Wichura 1988, algorithm AS241, for probabilities from 0.5 to 1 - 1e-11.
function quantile(p) {
  const q = p - 0.5;
  if (q <= 0.425) {
    const r = 0.180625 - q * q;
    return (polynomial(r, [
      2.50908092873012267e3, 3.34305755835881281e4, 6.72657709270087009e4, 4.59219539315498715e4,
      1.37316937655094611e4, 1.97159095030655144e3, 1.33141667891784377e2, 3.38713287279636661,
    ]) * q) / polynomial(r, [
      5.22649527885285456e3, 2.87290857357219427e4, 3.93078958000927106e4, 2.12137943015865959e4,
      5.39419602142475111e3, 6.87187007492057908e2, 4.23133307016009113e1, 1,
    ]);
  }
  const r = Math.sqrt(-Math.log(1 - p)) - 1.6;
  return polynomial(r, [
    7.74545014278341407e-4, 2.27238449892691846e-2, 2.41780725177450612e-1, 1.27045825245236838,
    3.64784832476320461, 5.7694972214606914, 4.6303378461565453, 1.42343711074968358,
  ]) / polynomial(r, [
    1.05075007164441684e-9, 5.47593808499534495e-4, 1.51986665636164572e-2, 1.48103976427480075e-1,
    6.8976733498510000455e-1, 1.6763848301838038494, 2.05319162663775882, 1,
  ]);
}

const polynomial = (x, factors) => factors.reduce((sum, factor) => sum * x + factor, 0);
