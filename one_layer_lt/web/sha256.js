// SHA-256 (FIPS 180-4). The browser's own is faster, but missing from pages that some browsers open from a disk.

const [START, ROUNDS] = constants();
const WORDS = new Int32Array(64);

/** The digest (Uint8Array of 32) of the bytes of `parts` (Uint8Arrays), one after the other. */
export function sha256(...parts) {
  const state = Int32Array.from(START);
  const rest = new Uint8Array(128); // what does not fill a block yet; the end takes up to two blocks
  let held = 0;
  let total = 0;
  for (const part of parts) {
    total += part.length;
    let at = 0;
    if (held > 0) {
      at = Math.min(64 - held, part.length);
      rest.set(part.subarray(0, at), held);
      held += at;
      if (held < 64) continue;
      block(state, rest, 0);
    }
    for (; at + 64 <= part.length; at += 64) block(state, part, at);
    rest.set(part.subarray(at));
    held = part.length - at;
  }
  rest.fill(0, held);
  rest[held] = 0x80;
  const last = held < 56 ? 64 : 128;
  new DataView(rest.buffer).setBigUint64(last - 8, BigInt(total) * 8n);
  for (let at = 0; at < last; at += 64) block(state, rest, at);
  const digest = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => digest.setInt32(4 * i, word));
  return new Uint8Array(digest.buffer);
}

/** The same, by the browser where it can. */
export async function quickSha256(...parts) {
  const own = globalThis.crypto?.subtle;
  return own ? new Uint8Array(await own.digest("SHA-256", await new Blob(parts).arrayBuffer())) : sha256(...parts);
}

export function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function block(state, bytes, at) {
  const w = WORDS;
  for (let i = 0; i < 16; i++, at += 4) {
    w[i] = (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
  }
  for (let i = 16; i < 64; i++) {
    const x = w[i - 15], y = w[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  let a = state[0], b = state[1], c = state[2], d = state[3], e = state[4], f = state[5], g = state[6], h = state[7];
  for (let i = 0; i < 64; i++) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + ROUNDS[i] + w[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g; g = f; f = e; e = (d + t1) | 0;
    d = c; c = b; b = a; a = (t1 + t2) | 0;
  }
  state[0] += a; state[1] += b; state[2] += c; state[3] += d;
  state[4] += e; state[5] += f; state[6] += g; state[7] += h;
}

// The first 32 bits of the fractions of the square roots of the first 8 primes, and of the cube roots of the first 64.
function constants() {
  const fraction = (x) => Math.floor((x % 1) * 2 ** 32) | 0;
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  return [primes.slice(0, 8).map((p) => fraction(Math.sqrt(p))), Int32Array.from(primes, (p) => fraction(Math.cbrt(p)))];
}
