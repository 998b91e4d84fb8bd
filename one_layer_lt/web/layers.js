// What a Transformer computes with beside its products: attention, norms, activations, and rows that grow.

export const ACTIVATIONS = {
  relu: (x) => (x > 0 ? x : 0),
  gelu: (x) => 0.5 * x * (1 + errorFunction(x / Math.SQRT2)),
  gelu_accurate: tanhGelu,
  gelu_fast: tanhGelu,
  tanh: Math.tanh,
  linear: (x) => x,
};

/** Rows that grow: `add` gives the number of the first one added. */
export function rows(width) {
  let held = new Float32Array(64 * width), count = 0;
  return {
    add(more) {
      const at = count * width;
      if (at + more.length > held.length) {
        const wider = new Float32Array(2 * (at + more.length));
        wider.set(held);
        held = wider;
      }
      held.set(more, at);
      count += more.length / width;
      return at / width;
    },
    all: () => held,
  };
}

/**
 * Attention of so many heads. Row `i` of the queries looks at `count` keys, those at the rows of `path` or the first
 * ones, and its row of `out` gets the values; its row of `seen` what is looked at, the mean over the heads.
 */
export function attention(width, heads) {
  const size = width / heads, factor = 1 / Math.sqrt(size);
  let weights = new Float64Array(64);
  return (queries, i, keys, values, count, path, out, seen = null) => {
    if (weights.length < count) weights = new Float64Array(2 * count);
    for (let from = i * width; from < (i + 1) * width; from += size) {
      const column = from - i * width;
      let most = -Infinity, total = 0;
      for (let row = 0; row < count; row++) {
        const at = (path ? path[row] : row) * width + column;
        let sum = 0;
        for (let k = 0; k < size; k++) sum += queries[from + k] * keys[at + k];
        weights[row] = sum * factor;
        if (weights[row] > most) most = weights[row];
      }
      for (let row = 0; row < count; row++) total += weights[row] = Math.exp(weights[row] - most);
      for (let row = 0; row < count; row++) {
        const weight = weights[row] / total, at = (path ? path[row] : row) * width + column;
        for (let k = 0; k < size; k++) out[from + k] += weight * values[at + k];
        if (seen) seen[i * count + row] += weight / heads;
      }
    }
  };
}

/** Layer norm of each row, with fairseq's epsilon. */
export function normalised(x, width, scale, shift) {
  const y = new Float32Array(x.length);
  for (let at = 0; at < x.length; at += width) {
    let mean = 0, variance = 0;
    for (let k = 0; k < width; k++) mean += x[at + k];
    mean /= width;
    for (let k = 0; k < width; k++) variance += (x[at + k] - mean) ** 2;
    const factor = 1 / Math.sqrt(variance / width + 1e-5);
    for (let k = 0; k < width; k++) {
      const value = (x[at + k] - mean) * factor;
      y[at + k] = value * (scale ? scale[k] : 1) + (shift ? shift[k] : 0);
    }
  }
  return y;
}

function tanhGelu(x) {
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/** erf, to float32's precision, by a series without cancellation. */
function errorFunction(x) {
  const size = Math.abs(x);
  if (size > 4) return Math.sign(x);
  let sum = size, term = size; // erf x = 2 / sqrt(pi) exp(-x^2) sum of x (2 x^2)^n / (1 * 3 * ... (2 n + 1))
  for (let n = 1; term > 1e-12 * sum; n++) sum += term *= (2 * size * size) / (2 * n + 1);
  return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * Math.exp(-size * size) * sum;
}
