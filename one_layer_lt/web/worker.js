// The side of the page that computes: opens tickets and translates, and hears of new text between two steps.

import { WeightPool } from "./masks.js";
import { textOf, translator } from "./translator.js";

const MOST_KEPT = 2000; // translations of lines, so that only what has changed is translated

/** Messages in: {open: [base64, ...]}, then {ask: id, ticket, lines, settings}; out: as `reply` sends them. */
export function serve(scope) {
  const reply = (message) => scope.postMessage(message);
  const pool = new WeightPool();
  const opened = new Map(); // number of a ticket -> promise of its translator
  const kept = new Map();
  let tickets = [], latest = 0;
  const pause = pauses();

  const open = (ticket) => {
    if (!opened.has(ticket)) {
      const report = (fraction) => reply({ ticket, progress: fraction });
      const began = performance.now();
      const made = translator(decoded(tickets[ticket]), tickets.length > 1 ? pool : new WeightPool(), report);
      made.then(({ about, size, kept, words }) => {
        reply({ ticket, ready: { about, size, kept, pieces: words.size, seconds: (performance.now() - began) / 1000 } });
      }, () => {});
      opened.set(ticket, made);
    }
    return opened.get(ticket);
  };

  async function answer({ ask, ticket, lines, settings }) {
    latest = ask;
    const stop = async () => {
      await pause();
      if (latest !== ask) throw new Superseded();
    };
    try {
      const { translate } = await open(ticket);
      const began = performance.now();
      for (const [number, line] of lines.entries()) {
        const key = JSON.stringify([ticket, line, settings]);
        if (!kept.has(key)) {
          const parts = await translate(line, settings, stop);
          kept.set(key, { parts, text: textOf(parts) });
          if (kept.size > MOST_KEPT) kept.delete(kept.keys().next().value);
        }
        if (latest !== ask) return;
        reply({ ask, number, ...kept.get(key) });
      }
      reply({ ask, done: (performance.now() - began) / 1000 });
    } catch (error) {
      if (!(error instanceof Superseded)) reply({ ticket, failed: error.message });
    }
  }

  scope.onmessage = ({ data }) => {
    if (data.open) tickets = data.open;
    else answer(data);
  };
}

class Superseded extends Error {}

/** A function whose promise resolves once the messages that wait have been heard. */
function pauses() {
  const { port1, port2 } = new MessageChannel();
  const waiting = [];
  port1.onmessage = () => waiting.shift()();
  return () => new Promise((resolve) => (waiting.push(resolve), port2.postMessage(0)));
}

function decoded(base64) {
  let binary;
  try {
    binary = atob(base64);
  } catch {
    throw new Error("damaged: it is no base64");
  }
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
