// Products of a matrix with rows of numbers: y = x W^T, where W has shape (outs, ins).
//
// A tensor of values -c, 0 and c, which is what signs and 0/1 masks over constants give, is kept as one bit a weight (two
// where there are zeros), and multiplied by sums that are looked up: of each 8 inputs all 256 sums are made once, and
// then a byte of a row stands for 8 products.

const LEAST_OUTS = 64; // rows that make the sums worth their while

/** A matrix of {shape: [outs, ins], values}: `row(i, out, at)` copies a row, `times(x, n, y)` fills y, shape (n, outs). */
export function matrixOf({ shape: [outs, ins], values }) {
  const size = outs >= LEAST_OUTS && ins % 8 === 0 ? onlySize(values) : null;
  return size === null ? dense(outs, ins, values) : packed(outs, ins, values, size);
}

/** What all values but zeros are in size, or null. */
function onlySize(values) {
  let size = 0;
  for (let i = 0; i < values.length; i++) {
    const own = Math.abs(values[i]);
    if (own === 0 || own === size) continue;
    if (size !== 0) return null;
    size = own;
  }
  return size;
}

function dense(outs, ins, w) {
  const row = (i, out, at) => out.set(w.subarray(i * ins, (i + 1) * ins), at);
  const x = new Float64Array(5 * ins); // five rows at a time, in the type that sums are in
  const times = (rows, n, y) => {
    for (let r = 0; r < n; r += 5) {
      const here = Math.min(5, n - r);
      x.fill(0).set(rows.subarray(r * ins, (r + here) * ins));
      for (let o = 0; o < outs; o++) {
        let a = 0, b = 0, c = 0, d = 0, e = 0;
        for (let k = 0, at = o * ins; k < ins; k++, at++) {
          const v = w[at];
          a += v * x[k]; b += v * x[k + ins]; c += v * x[k + 2 * ins]; d += v * x[k + 3 * ins]; e += v * x[k + 4 * ins];
        }
        const to = r * outs + o;
        y[to] = a;
        if (here > 1) y[to + outs] = b;
        if (here > 2) y[to + 2 * outs] = c;
        if (here > 3) y[to + 3 * outs] = d;
        if (here > 4) y[to + 4 * outs] = e;
      }
    }
  };
  return { outs, ins, row, times };
}

function packed(outs, ins, values, size) {
  // With zeros W = c/2 (P + Q), where P has 1 for them, and Q -1; without, P alone.
  const planes = [bitsOf(values, (value) => value >= 0)];
  if (values.includes(0)) planes.push(bitsOf(values, (value) => value > 0));
  const factor = size / planes.length, groups = ins / 8;
  const row = (i, out, at) => {
    for (let k = 0; k < ins; k++) {
      let sum = 0;
      for (const bits of planes) sum += bits[i * groups + (k >> 3)] & (1 << (k & 7)) ? factor : -factor;
      out[at + k] = sum;
    }
  };
  const times = (x, n, y) => {
    y.fill(0, 0, n * outs);
    for (let r = 0; r < n; r++) {
      makeSums(x, r * ins, groups);
      for (const bits of planes) addLookedUp(bits, groups, factor, y, r * outs, outs);
    }
  };
  return { outs, ins, row, times };
}

function bitsOf(values, isOne) {
  const bits = new Uint8Array(values.length / 8);
  for (let i = 0; i < values.length; i++) if (isOne(values[i])) bits[i >> 3] |= 1 << (i & 7);
  return bits;
}

let sums = new Float64Array(0); // of each group the sums of its 8 inputs, each with the sign that a bit of the index says

function makeSums(x, at, groups) {
  if (sums.length < groups << 8) sums = new Float64Array(groups << 8);
  const table = sums;
  for (let g = 0; g < groups; g++, at += 8) {
    const base = g << 8;
    table[base] = -(x[at] + x[at + 1] + x[at + 2] + x[at + 3] + x[at + 4] + x[at + 5] + x[at + 6] + x[at + 7]);
    for (let i = 0; i < 8; i++) {
      const twice = 2 * x[at + i], half = base + (1 << i);
      for (let from = base, to = half; from < half; from++, to++) table[to] = table[from] + twice;
    }
  }
}

function addLookedUp(bits, groups, factor, y, to, outs) {
  const table = sums;
  for (let o = 0, at = 0; o < outs; o++) {
    let even = 0, odd = 0, g = 0;
    for (let base = 0; g + 2 <= groups; g += 2, base += 512, at += 2) {
      even += table[base + bits[at]];
      odd += table[base + 256 + bits[at + 1]];
    }
    if (g < groups) even += table[(g << 8) + bits[at++]];
    y[to + o] += factor * (even + odd);
  }
}
