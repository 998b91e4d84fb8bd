// A ticket's file: a safetensors header, the digest of it all, and tensors, some of them deflated.

import { product } from "./random.js";
import { hex, sha256 } from "./sha256.js";

const EXPANSION = 16; // times its stored size that anything may expand to
const WIDTHS = { U8: 1, F16: 2, BF16: 2, F32: 4 };

/** {about, tensor(name), size}: the metadata, and what each tensor holds, of the `bytes` (Uint8Array) of a ticket. */
export function openTicket(bytes) {
  const header = bytes.length < 8 ? NaN : Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  if (!(header + 8 <= bytes.length)) throw new Error("not a whole safetensors file");
  const { __metadata__: metadata, ...places } = JSON.parse(text(bytes.subarray(8, 8 + header)));
  // A seed may be larger than what numbers hold exactly: it stays text.
  const about = JSON.parse((metadata?.ticket ?? "{}").replace(/"seed"\s*:\s*(-?\d+)/g, '"seed":"$1"'));
  if (about.format !== "one_layer_lt.ticket") throw new Error("a safetensors file, but no ticket");
  if (about.version !== 1) throw new Error(`format version ${about.version}; this page reads version 1`);
  checkDigest(bytes, 8 + header, about.digest);
  const data = bytes.subarray(8 + header);
  const tensor = (name) => {
    const place = places[name];
    if (!place) throw new Error(`lacks the tensor ${name}`);
    const [start, end] = place.data_offsets;
    const size = product(place.shape) * WIDTHS[place.dtype];
    if (!(start >= 0 && end <= data.length && end - start === size)) throw new Error(`${name} is not within the file`);
    return { shape: place.shape, dtype: place.dtype, bytes: data.subarray(start, end) };
  };
  return { about, tensor, names: Object.keys(places), size: bytes.length };
}

/** The bytes of the tensor `name` as they were before coding. */
export async function expanded(file, name, { coding, size }) {
  const stored = file.tensor(name).bytes;
  if (coding === "raw" && stored.length === size) return stored;
  if (coding !== "deflate" || size > EXPANSION * stored.length) throw new Error(`${name} does not hold ${size} bytes`);
  const out = new Uint8Array(size);
  let at = 0;
  const stream = new Blob([stored]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  for (const reader = stream.getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (at + value.length > size) throw new Error(`${name} holds more than ${size} bytes`);
    out.set(value, at);
    at += value.length;
  }
  if (at !== size) throw new Error(`${name} holds fewer than ${size} bytes`);
  return out;
}

/** The numbers (Float32Array) of a dense tensor. */
export function floats({ dtype, bytes }) {
  const own = bytes.slice(); // aligned
  if (dtype === "F32") return new Float32Array(own.buffer);
  const halves = new Uint16Array(own.buffer);
  if (dtype === "F16") return Float32Array.from(halves, half);
  if (dtype !== "BF16") throw new Error(`a dense tensor of type ${dtype}`);
  return new Float32Array(Uint32Array.from(halves, (word) => word << 16).buffer);
}

export const text = (bytes) => new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);

function half(word) {
  const sign = word & 0x8000 ? -1 : 1, exponent = (word >> 10) & 31, fraction = word & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return exponent ? sign * 2 ** (exponent - 25) * (1024 + fraction) : sign * 2 ** -24 * fraction;
}

function checkDigest(bytes, header, claimed) {
  const damaged = new Error("damaged: its bytes do not have the digest that it names");
  if (typeof claimed !== "string" || claimed.length !== 64) throw damaged;
  const at = new TextDecoder("latin1").decode(bytes.subarray(0, header)).indexOf(claimed); // a character a byte
  if (at < 0) throw damaged;
  const zeros = new TextEncoder().encode("0".repeat(64));
  if (hex(sha256(bytes.subarray(0, at), zeros, bytes.subarray(at + 64))) !== claimed) throw damaged;
}
