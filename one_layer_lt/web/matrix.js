// Products of rows of numbers with matrices: y = x W^T, where W has shape (outs, ins).
//
// A tensor of values -c, 0 and c, which is what signs and 0/1 masks over constants give, is kept as one bit a weight (two
// where there are zeros), and multiplied by sums that are looked up: of each 8 inputs all 256 sums are made once, and
// then a byte of a row stands for 8 products.

const MAGNITUDE = 0x7fffffff;
const LEAST_OUTS = 64; // rows that make the sums worth their while

/** A matrix of {shape: [outs, ins], values}. Its `row(i)` is a copy of a row. */
export function matrixOf({ shape: [outs, ins], values }) {
  const constant = outs >= LEAST_OUTS && ins % 8 === 0 ? constantOf(values) : null;
  return { outs, ins, ...(constant ? packed(ins, constant) : dense(outs, ins, values)) };
}

/** Of each of the matrices, which have as many `ins`, its product with `n` rows of x: shape (n, outs). */
export function products(matrices, x, n) {
  const results = matrices.map(({ outs }) => new Float32Array(n * outs));
  const { ins } = matrices[0];
  matrices.forEach(({ fill }, i) => fill?.(results[i], x, n));
  for (let r = 0; r < n && matrices.some(({ addRow }) => addRow); r++) {
    makeSums(x, r * ins, ins >> 3);
    matrices.forEach(({ addRow, outs }, i) => addRow?.(results[i], r * outs, outs));
  }
  return results;
}

/** {size, planes} of values -c, 0 and c, of which size is c; or null of others. */
function constantOf(values) {
  const words = new Int32Array(values.buffer, values.byteOffset, values.length); // a sign, and 31 bits of magnitude
  const magnitude = (words.find((word) => word & MAGNITUDE) ?? 0) & MAGNITUDE;
  const plus = new Uint8Array(values.length >> 3), notMinus = new Uint8Array(values.length >> 3);
  let zeros = false;
  for (let at = 0, i = 0; at < plus.length; at++) {
    let p = 0, m = 0;
    for (let bit = 0; bit < 8; bit++, i++) {
      const sign = words[i] >>> 31, own = words[i] & MAGNITUDE;
      if (own === magnitude) {
        p |= (1 - sign) << bit;
        m |= sign << bit;
      } else if (own !== 0) return null;
    }
    plus[at] = p;
    notMinus[at] = ~m;
    zeros ||= p + m !== 255;
  }
  const [size] = new Float32Array(Int32Array.of(magnitude).buffer);
  return { size, planes: zeros ? [plus, notMinus] : [plus] };
}

function dense(outs, ins, w) {
  const x = new Float64Array(5 * ins); // five rows and two outs at a time, in the type that sums are in
  const fill = (y, rows, n) => {
    for (let r = 0; r < n; r += 5) {
      x.fill(0).set(rows.subarray(r * ins, Math.min(r + 5, n) * ins));
      for (let o = 0; o < outs; o += 2) {
        let a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0, i = 0, j = 0;
        for (let k = 0, at = o * ins, next = Math.min(o + 1, outs - 1) * ins; k < ins; k++, at++, next++) {
          const v = w[at], u = w[next];
          let z = x[k]; a += v * z; f += u * z;
          z = x[k + ins]; b += v * z; g += u * z;
          z = x[k + 2 * ins]; c += v * z; h += u * z;
          z = x[k + 3 * ins]; d += v * z; i += u * z;
          z = x[k + 4 * ins]; e += v * z; j += u * z;
        }
        const totals = [a, b, c, d, e, f, g, h, i, j];
        for (let k = 0; k < 10; k++) {
          const row = r + (k % 5), out = o + (k > 4 ? 1 : 0);
          if (row < n && out < outs) y[row * outs + out] = totals[k];
        }
      }
    }
  };
  return { row: (i) => w.slice(i * ins, (i + 1) * ins), fill };
}

function packed(ins, { size, planes }) {
  // With zeros W = c/2 (P + Q), where P has -1 for them, and Q 1; without, P alone.
  const factor = size / planes.length, groups = ins >> 3;
  const value = (bits, at) => (bits[at >> 3] & (1 << (at & 7)) ? factor : -factor);
  return {
    row: (i) => Float32Array.from({ length: ins }, (_, k) => planes.reduce((sum, bits) => sum + value(bits, i * ins + k), 0)),
    addRow: (y, to, outs) => planes.forEach((bits) => addLookedUp(bits, groups, factor, y, to, outs)),
  };
}

let sums = new Float64Array(0); // of each 8 inputs their 256 sums, the bits of an index being the signs: 1 for plus

function makeSums(x, at, groups) {
  if (sums.length < groups << 8) sums = new Float64Array(groups << 8);
  const table = sums;
  for (let to = 0; to < groups << 8; at += 8) {
    const p = x[at] + x[at + 1], m = x[at] - x[at + 1], q = x[at + 2] + x[at + 3], n = x[at + 2] - x[at + 3];
    const a = -p - q, b = m - q, c = -m - q, d = p - q, e = n - p, f = m + n, g = n - m, h = p + n; // of four, the last minus
    for (let bits = 0; bits < 16; bits++, to += 16) {
      const s = (bits & 1 ? x[at + 4] : -x[at + 4]) + (bits & 2 ? x[at + 5] : -x[at + 5])
        + (bits & 4 ? x[at + 6] : -x[at + 6]) + (bits & 8 ? x[at + 7] : -x[at + 7]);
      table[to] = s + a; table[to + 1] = s + b; table[to + 2] = s + c; table[to + 3] = s + d;
      table[to + 4] = s + e; table[to + 5] = s + f; table[to + 6] = s + g; table[to + 7] = s + h;
      table[to + 8] = s - h; table[to + 9] = s - g; table[to + 10] = s - f; table[to + 11] = s - e;
      table[to + 12] = s - d; table[to + 13] = s - c; table[to + 14] = s - b; table[to + 15] = s - a;
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
