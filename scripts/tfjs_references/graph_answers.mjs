// Runs the TensorFlow.js graph models in the folders given and writes what they answer into their reference.json.
//
//   node graph_answers.mjs FOLDER...
//
// Needs @tensorflow/tfjs 4.22.0 beside it (npm install). Uses the cpu backend, which is plain JavaScript: of the
// backends the one whose numbers depend on nothing else.
import * as tf from '@tensorflow/tfjs';
import fs from 'node:fs';
import path from 'node:path';

const DIGITS = 9; // enough to tell every float32

function load(folder) {
  const model = JSON.parse(fs.readFileSync(path.join(folder, 'model.json'), 'utf8'));
  const specs = model.weightsManifest.flatMap(group => group.weights);
  const shards = model.weightsManifest.flatMap(group => group.paths).map(name => fs.readFileSync(path.join(folder, name)));
  const bytes = Buffer.concat(shards);
  const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  return tf.loadGraphModel({ load: async () => ({ ...model, weightSpecs: specs, weightData: data }) });
}

function plain(value) {
  return Number.isFinite(value) ? Number(value.toPrecision(DIGITS)) : String(value);
}

async function answer(folder) {
  const file = path.join(folder, 'reference.json');
  const reference = JSON.parse(fs.readFileSync(file, 'utf8'));
  const model = await load(folder);
  const inputs = {};
  for (const given of Object.values(reference.inputs)) {
    inputs[given.node] = tf.tensor(given.values, given.shape, given.dtype);
  }
  const names = Object.keys(reference.outputs);
  const fetched = await model.executeAsync(inputs, names.map(name => reference.outputs[name].node));
  const tensors = Array.isArray(fetched) ? fetched : [fetched];
  for (const [index, name] of names.entries()) {
    const tensor = tensors[index];
    const values = Array.from(await tensor.data());
    Object.assign(reference.outputs[name], {
      dtype: tensor.dtype,
      shape: tensor.shape,
      values: tensor.dtype === 'float32' ? values.map(plain) : values,
    });
  }
  fs.writeFileSync(file, JSON.stringify(reference));
  console.log(`${path.basename(folder)}: ${names.length} outputs`);
}

await tf.setBackend('cpu');
console.warn = () => {}; // advice on which call would be faster
let failed = 0;
for (const folder of process.argv.slice(2)) {
  try {
    await answer(folder);
  } catch (error) {
    failed += 1;
    console.error(`${path.basename(folder)}: ${process.env.TRACE ? error.stack : error.message}`);
  }
}
process.exitCode = failed ? 1 : 0;
