const started = await Promise.resolve("awaited at the top");
export const ns = { h: async () => started };
