// Prints the operations that tfjs-converter can execute, for src/tensorhost/runtimes/tfjs/operations.py, which says what
// is left out of them and why.
//
//   node graph_operations.mjs
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const converter = path.dirname(createRequire(import.meta.url).resolve('@tensorflow/tfjs-converter/package.json'));
const folder = path.join(converter, 'dist/operations/op_list');
const names = new Set();
for (const file of fs.readdirSync(folder).filter(name => name.endsWith('.js'))) {
  const { json } = await import(pathToFileURL(path.join(folder, file)));
  json.forEach(operation => names.add(operation.tfOpName));
}
console.log([...names].sort().join('\n'));
