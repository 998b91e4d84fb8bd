// fairseq's Transformer, one sentence at a time: numbers in, logits of the next subword out.
//
// Rows of numbers are Float32Arrays of shape (n, width), one row after the other.

import { ACTIVATIONS, attention, normalised, rows } from "./layers.js";
import { matrixOf, products } from "./matrix.js";
import { PAD } from "./text.js";

/** {encode(numbers), start(source), vocabulary} of a ticket's architecture and weights (as `weightsOf` gives them). */
export function transformer(about, weights) {
  const parts = makers(about, weights);
  const encoder = stack("encoder", about, parts);
  const decoder = stack("decoder", about, parts);
  return {
    vocabulary: decoder.vocabulary,

    /** What the decoder attends to: {count, layers: [[keys, values]]}. */
    encode(numbers) {
      const count = numbers.length;
      let x = new Float32Array(count * encoder.width);
      numbers.forEach((number, i) => encoder.embed(number, i, x, i));
      x = encoder.ready(x, count);
      for (const layer of encoder.layers) {
        x = layer.block("self_attn", x, (y) => {
          const [queries, keys, values] = layer.own(y, count), out = new Float32Array(queries.length);
          for (let i = 0; i < count; i++) encoder.look(queries, i, keys, values, count, null, out);
          return layer.out(out, count)[0];
        });
        x = layer.feed(x, count);
      }
      x = encoder.final(x);
      return { count, layers: decoder.layers.map((layer) => layer.source(x, count)) };
    },

    /**
     * The decoder on a sentence. `step(numbers, paths)` takes the last subword of each hypothesis, and the rows of the
     * subwords before it; it gives {logits, seen, first}: rows of logits, rows of what the last layer looks at in
     * the source, and the row that the first hypothesis has from now on, the others following.
     */
    start(source) {
      const caches = decoder.layers.map(() => ({ keys: rows(decoder.width), values: rows(decoder.width) }));
      return {
        step(numbers, paths) {
          const n = numbers.length;
          let x = new Float32Array(n * decoder.width), first = 0;
          const seen = new Float32Array(n * source.count);
          numbers.forEach((number, i) => decoder.embed(number, paths[i].length, x, i));
          x = decoder.ready(x, n);
          decoder.layers.forEach((layer, depth) => {
            x = layer.block("self_attn", x, (y) => {
              const { keys, values } = caches[depth];
              const [queries, newKeys, newValues] = layer.own(y, n), out = new Float32Array(queries.length);
              first = keys.add(newKeys);
              values.add(newValues);
              for (let i = 0; i < n; i++) {
                const path = [...paths[i], first + i];
                decoder.look(queries, i, keys.all(), values.all(), path.length, path, out);
              }
              return layer.out(out, n)[0];
            });
            x = layer.block("encoder_attn", x, (y) => {
              const [keys, values] = source.layers[depth];
              const [queries] = layer.cross(y, n), out = new Float32Array(queries.length);
              const last = depth === decoder.layers.length - 1 ? seen : null;
              for (let i = 0; i < n; i++) decoder.look(queries, i, keys, values, source.count, null, out, last);
              return layer.crossOut(out, n)[0];
            });
            x = layer.feed(x, n);
          });
          return { logits: decoder.logits(decoder.final(x), n), seen, first };
        },
      };
    },
  };
}

/** What makes the parts of the model from tensors, by their names. */
function makers(about, weights) {
  const made = new Map();
  const first = (name) => {
    if (name === "decoder.output_projection" && about.share_decoder_input_output_embed) return first("decoder.embed_tokens");
    return name === "decoder.embed_tokens" && about.share_all_embeddings ? "encoder.embed_tokens" : name;
  };
  const tensor = (name) => weights.get(name) ?? weights.get(`${name}.weight`);
  const matrix = (name) => {
    name = first(name);
    if (!made.has(name)) {
      if (!tensor(name)) throw new Error(`lacks ${name}, which the model has`);
      made.set(name, matrixOf(tensor(name)));
    }
    return made.get(name);
  };
  /** The function from n rows to what the layers of these names make of them. */
  const linear = (...names) => {
    const matrices = names.map(matrix), biases = names.map((name) => tensor(`${name}.bias`)?.values);
    return (x, n) => products(matrices, x, n).map((y, which) => {
      const bias = biases[which];
      if (bias) for (let i = 0; i < y.length; i++) y[i] += bias[i % bias.length];
      return y;
    });
  };
  const norm = (name, width) => {
    const scale = weights.get(`${name}.weight`)?.values, shift = weights.get(`${name}.bias`)?.values;
    return (x) => normalised(x, width, scale, shift);
  };
  return { matrix, linear, norm };
}

/** The encoder or the decoder: how it embeds subwords, its layers, and what comes before and after them. */
function stack(side, about, { matrix, linear, norm }) {
  const width = about[`${side}_embed_dim`], before = about[`${side}_normalize_before`];
  const activation = ACTIVATIONS[about.activation_fn];
  if (!activation) throw new Error(`the activation ${about.activation_fn} is unknown to this page`);
  const layers = Array.from({ length: about[`${side}_layers`] }, (_, i) => {
    const name = `${side}.layers.${i}`;
    const norms = {
      self_attn: norm(`${name}.self_attn_layer_norm`, width),
      encoder_attn: norm(`${name}.encoder_attn_layer_norm`, width),
      feed: norm(`${name}.final_layer_norm`, width),
    };
    /** `inner` with its residual, and its norm before or after. */
    const block = (which, x, inner) => {
      const y = inner(before ? norms[which](x) : x);
      for (let k = 0; k < y.length; k++) y[k] += x[k];
      return before ? y : norms[which](y);
    };
    const up = linear(`${name}.fc1`), down = linear(`${name}.fc2`);
    const feed = (x, n) => block("feed", x, (y) => {
      const [inner] = up(y, n);
      for (let k = 0; k < inner.length; k++) inner[k] = activation(inner[k]);
      return down(inner, n)[0];
    });
    const own = ["q_proj", "k_proj", "v_proj"].map((part) => `${name}.self_attn.${part}`);
    const layer = { block, feed, own: linear(...own), out: linear(`${name}.self_attn.out_proj`) };
    if (side === "encoder") return layer;
    const cross = `${name}.encoder_attn`;
    return {
      ...layer,
      cross: linear(`${cross}.q_proj`),
      source: linear(`${cross}.k_proj`, `${cross}.v_proj`),
      crossOut: linear(`${cross}.out_proj`),
    };
  });
  const tokens = matrix(`${side}.embed_tokens`);
  const into = tokens.ins === width ? (x) => [x] : linear(`${side}.project_in_dim`);
  const position = positions(side, about, matrix, width);
  const first = about.layernorm_embedding ? norm(`${side}.layernorm_embedding`, width) : (x) => x;
  const last = before && !(side === "decoder" && about.no_decoder_final_norm);
  const scale = about.no_scale_embedding ? 1 : Math.fround(Math.sqrt(width));
  const found = {
    width,
    look: attention(width, about[`${side}_attention_heads`]),
    layers,
    /** The embedding of a subword at a place of the sentence, written as a row of x. */
    embed(number, place, x, row) {
      const [wide] = into(tokens.row(number).map((value) => value * scale), 1), where = position(place);
      for (let k = 0; k < width; k++) x[row * width + k] = where ? wide[k] + where[k] : wide[k];
    },
    ready: first,
    final: last ? norm(`${side}.layer_norm`, width) : (x) => x,
  };
  if (side === "encoder") return found;
  const out = width === about.decoder_output_dim ? (x) => [x] : linear("decoder.project_out_dim");
  const project = linear("decoder.output_projection");
  return { ...found, vocabulary: matrix("decoder.output_projection").outs, logits: (x, n) => project(out(x, n)[0], n)[0] };
}

/** The function from a place in a sentence to the vector that is added there: learnt, of sines, or none. */
function positions(side, about, matrix, width) {
  if (about.no_token_positional_embeddings) return () => null;
  const made = [];
  const learnt = about[`${side}_learned_pos`] ? matrix(`${side}.embed_positions`) : null;
  const half = width >> 1, step = -Math.fround(Math.log(10000) / (half - 1));
  return (place) => {
    if (!made[place]) {
      const at = place + PAD + 1; // as padding has a place, too
      made[place] = learnt ? learnt.row(at) : new Float32Array(width);
      for (let k = 0; k < half && !learnt; k++) {
        const angle = Math.fround(at * Math.fround(Math.exp(Math.fround(k * step))));
        made[place][k] = Math.sin(angle);
        made[place][half + k] = Math.cos(angle);
      }
    }
    return made[place];
  };
}
