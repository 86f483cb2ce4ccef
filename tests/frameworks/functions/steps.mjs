// What a stream consists of. Where a test holds the function (GATE is its port), each piece waits for its release.
import { once } from "node:events";
import net from "node:net";

export async function* steps() {
  const gate = process.env.GATE && net.connect(Number(process.env.GATE), "127.0.0.1");
  for (const piece of ["one,", "two,", "three"]) {
    if (gate) await once(gate, "data");
    yield piece;
  }
  gate?.destroy();
}

/** The same as a web stream of bytes. */
export function stepStream() {
  const pieces = steps();
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      const { done, value } = await pieces.next();
      if (done) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
  });
}
