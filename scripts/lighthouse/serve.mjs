/** Serves a folder on this machine as a host does: compressed, and kept by the browser. */

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { gzipSync } from "node:zlib";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".txt": "text/plain; charset=utf-8",
};
const BINARY = { ".png": "image/png", ".woff": "font/woff", ".woff2": "font/woff2" };

/** Serve `folder`, with the texts of `instead` in the place of some files; return the address, and what ends it. */
export async function serve(folder, instead = {}) {
  const packed = new Map();
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://localhost").pathname));
    const kind = extname(path);
    try {
      const content = instead[path] ?? (await readFile(join(folder, path)));
      const headers = { "Content-Type": TYPES[kind] ?? BINARY[kind] ?? "application/octet-stream" };
      if (kind !== ".html") headers["Cache-Control"] = "max-age=604800";
      if (!(kind in TYPES)) return response.writeHead(200, headers).end(content);
      if (!packed.has(path)) packed.set(path, gzipSync(content));
      response.writeHead(200, { ...headers, "Content-Encoding": "gzip" }).end(packed.get(path));
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
  return {
    address: `http://127.0.0.1:${server.address().port}`,
    close: () => server.close(),
  };
}
